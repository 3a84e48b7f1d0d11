package store

// This file says which tables there are, in each version.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// applicationID tells a registry from other databases ("iots").
const applicationID = 0x696f7473

// versions are the statements that lead from each version of the schema to the next. Every
// row ends with a sum over its values: SQLite does not see when a disk returns others. A
// column that comes later is without a value in rows written before, which leaves their sums
// as they were.
var versions = []string{
	`CREATE TABLE device (
		id INTEGER PRIMARY KEY, name TEXT, first INTEGER, last INTEGER, flows INTEGER, ipv6_flows INTEGER, packets INTEGER, bytes INTEGER,
		newest INTEGER, shared INTEGER, addresses TEXT, gone INTEGER, active_since INTEGER, gone_after INTEGER,
		state TEXT, said TEXT, model TEXT, judged BLOB, sum INTEGER NOT NULL) STRICT;
	CREATE TABLE fact (mac TEXT PRIMARY KEY, facts TEXT, sum INTEGER NOT NULL) STRICT, WITHOUT ROWID;
	CREATE TABLE event (
		seq INTEGER PRIMARY KEY, time INTEGER, event TEXT, device TEXT, label TEXT, path TEXT, old TEXT, new TEXT,
		sum INTEGER NOT NULL) STRICT;
	CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER, sum INTEGER NOT NULL) STRICT, WITHOUT ROWID`,
	`ALTER TABLE device ADD COLUMN macs TEXT;
	ALTER TABLE device ADD COLUMN label TEXT;
	ALTER TABLE device ADD COLUMN labelled INTEGER;
	ALTER TABLE device ADD COLUMN locked INTEGER`,
	`ALTER TABLE device ADD COLUMN ignored INTEGER`,
}

// table is one with its columns, but for the sum.
type table struct {
	name    string
	columns []string
}

var (
	deviceTable = table{"device", strings.Fields("id name first last flows ipv6_flows packets bytes newest shared addresses gone active_since gone_after state said model judged macs label labelled locked ignored")}
	factTable   = table{"fact", strings.Fields("mac facts")}
	eventTable  = table{"event", strings.Fields("seq time event device label path old new")}
	metaTable   = table{"meta", strings.Fields("key value")}
)

// prepare brings an open database to the newest version.
func (s *Store) prepare() error {
	version, err := s.version()
	if err != nil || version >= len(s.versions) {
		return err
	}
	var mode string
	if err := s.conn.QueryRowContext(context.Background(), "PRAGMA journal_mode=WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("its file system keeps no write-ahead log (journal mode %s): name a --state on a local disk", mode)
	}
	if version > 0 {
		if err := s.Snapshot(); err != nil { // of the last version
			return err
		}
	}
	err = s.atOnce(func() error {
		for _, statements := range s.versions[version:] {
			if err := s.exec(statements); err != nil {
				return err
			}
		}
		if err := s.put(metaTable, "version", int64(len(s.versions))); err != nil {
			return err
		}
		return s.exec(fmt.Sprintf("PRAGMA application_id=%d; PRAGMA user_version=%d", applicationID, len(s.versions)))
	})
	if err != nil || version > 0 {
		return err
	}
	return s.Snapshot() // so that there is always one
}

// version is that of an open database; 0: it is empty.
func (s *Store) version() (int, error) {
	var application, version, tables int
	for text, into := range map[string]*int{
		"PRAGMA application_id": &application, "PRAGMA user_version": &version, "SELECT count(*) FROM sqlite_schema": &tables,
	} {
		if err := s.conn.QueryRowContext(context.Background(), text).Scan(into); err != nil {
			return 0, err
		}
	}
	switch {
	case application == 0 && version == 0 && tables == 0:
		if s.hasSnapshot() {
			return 0, damagedf("it is empty, its snapshot is not")
		}
		return 0, nil
	case application != applicationID && !s.hasSnapshot():
		return 0, fmt.Errorf("%w, but another program's database", ErrForeign)
	case application != applicationID || version < 1:
		return 0, damagedf("its header says application %#x, version %d", application, version)
	}
	said, err := s.meta("version")
	switch {
	case err != nil:
		return 0, err
	case said != int64(version):
		return 0, damagedf("its header says version %d, itself %d", version, said)
	case version > len(s.versions):
		return 0, fmt.Errorf("version %d of its schema, this is %d: %w", version, len(s.versions), ErrNewer)
	}
	return version, nil
}

func (s *Store) hasSnapshot() bool {
	_, err := os.Stat(s.path + SnapshotSuffix)
	return err == nil
}

// meta is a value of the table meta.
func (s *Store) meta(key string) (value int64, err error) {
	found := errors.New("no row " + key + " in table meta")
	err = s.rows(metaTable, "", func(row []any) error {
		if row[0] == any(key) {
			value, found = row[1].(int64), nil
		}
		return nil
	})
	if err == nil && found != nil {
		err = &damageError{found}
	}
	return value, err
}

// atOnce does all of f or nothing.
func (s *Store) atOnce(f func() error) error {
	if err := s.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		err = s.exec("COMMIT")
	}
	if err != nil {
		_ = s.exec("ROLLBACK") // where SQLite has not done so itself
	}
	return err
}
