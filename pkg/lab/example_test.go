package lab_test

import (
	"bytes"
	"fmt"
	"log"
	"time"

	"github.com/iotsense/iotsense/pkg/lab"
)

// One seed is one home: its plug, its hub and its camera share a network.
func ExampleGenerate() {
	for _, kind := range []string{"smart-plug", "hub", "camera"} {
		c, err := lab.Generate(kind, 0, 42, time.Minute)
		if err != nil {
			log.Fatal(err)
		}
		var file bytes.Buffer
		if err := lab.WritePCAP(&file, c); err != nil {
			log.Fatal(err)
		}
		fmt.Println(c.Label, c.Device)
	}
	// Output:
	// smart-plug c2:40:3c:b5:c8:8b
	// hub 0e:91:bf:bc:53:d4
	// camera f6:b4:76:10:d2:ae
}
