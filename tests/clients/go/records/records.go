// Package records holds the records every client writes and expects back, by the rules of
// ../../python/records.py, and the lines a client says for each fact.
package records

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strconv"
	"time"
)

const (
	Count      = 300
	Partitions = 3
	StepMs     = 10
	Patience   = 30 * time.Second
)

type Header struct{ Key, Value string }

// Record is what went in, or what came out.
type Record struct {
	Key, Value []byte
	Headers    []Header
	Ms         int64
}

// At is record i of a series that starts at startMs.
func At(i int, startMs int64) Record {
	r := Record{Ms: startMs + int64(i)*StepMs}
	if i%7 != 0 {
		r.Key = []byte("key-" + strconv.Itoa(i%50))
	}
	switch {
	case i%11 == 5 && i%7 != 0:
	case i%13 == 3:
		r.Value = []byte{}
	default:
		r.Value = append([]byte("value-"+strconv.Itoa(i)+"-"), bytes.Repeat([]byte("x"), i*37%300)...)
	}
	if i%3 != 0 {
		r.Headers = append(r.Headers, Header{"n", strconv.Itoa(i)})
		if i%5 == 0 {
			r.Headers = append(r.Headers, Header{"n", "again"}, Header{"empty", ""})
		}
	}
	return r
}

func Partition(i int) int32 { return int32(i % Partitions) }

// OfPartition lists the records of partition p, in order.
func OfPartition(p int32) []int {
	var numbers []int
	for i := 0; i < Count; i++ {
		if Partition(i) == p {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

// Range is 0 to n-1.
func Range(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}

type failure struct{ reason string }

// Failf ends the program through Run.
func Failf(format string, a ...any) { panic(failure{fmt.Sprintf(format, a...)}) }

func Must(what string, err error) {
	if err != nil {
		Failf("%s: %v", what, err)
	}
}

func Expect(what string, found, wanted any) {
	if !reflect.DeepEqual(found, wanted) {
		Failf("%s: found %v, wanted %v", what, found, wanted)
	}
}

// Check says whether found is record i. A library that cannot tell null from empty passes exactNull=false.
func Check(what string, i int, startMs int64, found Record, exactNull bool) {
	wanted := At(i, startMs)
	same := bytes.Equal(found.Key, wanted.Key) && bytes.Equal(found.Value, wanted.Value) && found.Ms == wanted.Ms &&
		len(found.Headers) == len(wanted.Headers)
	if exactNull {
		same = same && (found.Key == nil) == (wanted.Key == nil) && (found.Value == nil) == (wanted.Value == nil)
	}
	for at := 0; same && at < len(found.Headers); at++ {
		same = found.Headers[at] == wanted.Headers[at]
	}
	if !same {
		Failf("%s: record %d: found %+v, wanted %+v", what, i, found, wanted)
	}
}

func Name(name, version string) { fmt.Printf("client %s %s\n", name, version) }
func OK(what string)            { fmt.Printf("ok %s\n", what) }
func Skip(what, why string)     { fmt.Printf("skip %s: %s\n", what, why) }

// Version of a module this program was built with.
func Version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, dep := range info.Deps {
		if dep.Path == module {
			return dep.Version
		}
	}
	return "?"
}

// Run hands over the address and the prefix; a failure is the last line and status 1.
func Run(main func(bootstrap, prefix string)) {
	defer func() {
		if caught := recover(); caught != nil {
			if f, ok := caught.(failure); ok {
				fmt.Printf("failed %s\n", f.reason)
			} else {
				debug.PrintStack()
				fmt.Printf("failed panic: %v\n", caught)
			}
			os.Exit(1)
		}
	}()
	main(os.Args[1], os.Args[2])
}

// Until repeats what until it holds, or fails.
func Until(what string, holds func() bool) {
	deadline := time.Now().Add(Patience)
	for !holds() {
		if time.Now().After(deadline) {
			Failf("%s: not within %s", what, Patience)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
