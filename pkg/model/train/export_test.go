package train

// PaperDesign is the paper's network with a first kernel of some columns. Its package
// imports this one, so the external tests set it.
var PaperDesign func(kernel1 int) Design
