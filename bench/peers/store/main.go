// Command store writes a day of a registry's changes with SQLite, as pkg/store does, and
// with bbolt, and says how many bytes each passed to write, by the kernel's count.
package main

import (
	"database/sql"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	_ "modernc.org/sqlite"
)

var (
	devices = flag.Int("devices", 50, "that change in each write")
	writes  = flag.Int("writes", 288, "of a day")
	row     = flag.Int("row", 620, "bytes of a device")
	facts   = flag.Int("facts", 6400, "bytes of its facts")
	apart   = flag.Int("facts-apart", 32, "writes between two of a device's facts")
)

func main() {
	flag.Parse()
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	for name, day := range map[string]func(string) error{"sqlite": sqlite, "bbolt": bolt} {
		path := filepath.Join(dir, name)
		before, began := written(), time.Now()
		if err := day(path); err != nil {
			panic(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%-7s %5.1f MB written, %.1f ms a commit, file of %.1f MB\n", name, float64(written()-before)/1e6,
			float64(time.Since(began).Microseconds())/1e3/float64(*writes), float64(info.Size())/1e6)
	}
}

// written is how many bytes this process has passed to write (proc(5), wchar).
func written() (n int) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		panic(err)
	}
	var read int
	if _, err := fmt.Sscanf(string(text), "rchar: %d\nwchar: %d", &read, &n); err != nil {
		panic(err)
	}
	return n
}

// value is other bytes each time.
func value(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// each gives what a write changes.
func each(n int, put func(table string, key int, value []byte) error) error {
	for d := range *devices {
		if err := put("device", d, value(*row)); err != nil {
			return err
		}
		if (n+d)%*apart == 0 {
			if err := put("fact", d, value(*facts)); err != nil {
				return err
			}
		}
	}
	return put("event", n, value(100))
}

func sqlite(path string) error {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=locking_mode(EXCLUSIVE)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	for _, table := range []string{"device", "fact", "event"} {
		if _, err := db.Exec("CREATE TABLE " + table + " (id INTEGER PRIMARY KEY, v BLOB)"); err != nil {
			return err
		}
	}
	for n := range *writes {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		err = each(n, func(table string, key int, v []byte) error {
			_, err := tx.Exec("INSERT OR REPLACE INTO "+table+" VALUES (?, ?)", key, v)
			return err
		})
		if err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return db.Close()
}

func bolt(path string) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	for n := range *writes {
		err := db.Update(func(tx *bbolt.Tx) error {
			return each(n, func(table string, key int, v []byte) error {
				b, err := tx.CreateBucketIfNotExists([]byte(table))
				if err != nil {
					return err
				}
				return b.Put(binary.BigEndian.AppendUint64(nil, uint64(key)), v)
			})
		})
		if err != nil {
			return err
		}
	}
	return db.Close()
}
