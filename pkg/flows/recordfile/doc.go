// Package recordfile writes flow records as parquet, raw values in the layout of the
// published customFlow data set, and reads them, those of other tools among them. It
// never changes a record and knows no model.
package recordfile
