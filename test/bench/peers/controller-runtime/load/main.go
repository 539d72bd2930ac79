// Sends admission reviews over TLS connections that are kept alive, as kube-apiserver does: HTTP/1.1, each connection
// one request at a time, each request with a uid of its own. Written for this, so that it needs a fraction of the CPU of
// whoever answers; it prints how much, as JSON.
//
//	load -address 127.0.0.1:8443 -review review.json -uid <uid in it> -run <flow run id in it> -runs 1000 -for 3s
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type settings struct {
	address, path, uid, run string
	body                    []byte
	// Different flow runs, one after the other; 0: a new one each time.
	runs uint64
	// Where those begin.
	first uint64
	until time.Time
}

func main() {
	address := flag.String("address", "", "")
	path := flag.String("path", "/mutate", "")
	review := flag.String("review", "", "")
	uid := flag.String("uid", "", "")
	run := flag.String("run", "", "")
	runs := flag.Uint64("runs", 1, "")
	first := flag.Uint64("first", 0, "")
	connections := flag.Int("connections", 16, "")
	duration := flag.Duration("for", time.Second, "")
	flag.Parse()
	body, err := os.ReadFile(*review)
	if err != nil {
		fail(err)
	}
	opened := make([]*connection, *connections)
	for index := range opened {
		opened[index], err = open(*address)
		if err != nil {
			fail(err)
		}
	}
	s := settings{*address, *path, *uid, *run, body, *runs, *first, time.Now().Add(*duration)}
	measure(s, opened)
}

func measure(s settings, connections []*connection) {
	var counter atomic.Uint64
	var group sync.WaitGroup
	latencies := make([][]time.Duration, len(connections))
	cpu, began := cpuTime(), time.Now()
	for index, c := range connections {
		group.Go(func() { latencies[index] = c.sendAll(s, &counter) })
	}
	group.Wait()
	seconds := time.Since(began).Seconds()
	all := slices.Concat(latencies...)
	slices.Sort(all)
	json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"requests":   float64(len(all)),
		"seconds":    seconds,
		"cpuSeconds": (cpuTime() - cpu).Seconds(),
		"p50":        milliseconds(all[len(all)/2]),
		"p99":        milliseconds(all[len(all)*99/100]),
	})
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

type connection struct {
	writer io.Writer
	reader *bufio.Reader
}

func open(address string) (*connection, error) {
	// Whose certificate it is costs the handshake, and the handshakes are over when measuring begins.
	raw, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return nil, err
	}
	return &connection{raw, bufio.NewReaderSize(raw, 16<<10)}, nil
}

func (c *connection) sendAll(s settings, counter *atomic.Uint64) []time.Duration {
	var latencies []time.Duration
	request, body := requestOf(s)
	uid, run := offsets(body, s.uid), offsets(body, s.run)
	for time.Now().Before(s.until) {
		number := counter.Add(1) - 1
		number12(body, uid, s.first+number)
		if s.runs > 0 {
			number %= s.runs
		}
		number12(body, run, s.first+number)
		began := time.Now()
		if _, err := c.writer.Write(request); err != nil {
			fail(err)
		}
		if err := c.read(); err != nil {
			fail(err)
		}
		latencies = append(latencies, time.Since(began))
	}
	return latencies
}

// The answer has to be one, with a patch.
func (c *connection) read() error {
	answer, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"patch":"`)) {
		return fmt.Errorf("answered %d: %s", answer.StatusCode, body)
	}
	return nil
}

// A request as kube-apiserver writes it, and the part of it that is the body.
func requestOf(s settings) (request, body []byte) {
	head := fmt.Sprintf("POST %s?timeout=2s HTTP/1.1\r\nHost: %s\r\nUser-Agent: kube-apiserver-admission\r\n"+
		"Content-Length: %d\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
		s.path, s.address, len(s.body))
	request = append([]byte(head), s.body...)
	return request, request[len(head):]
}

func offsets(body []byte, id string) (found []int) {
	for from := 0; id != ""; {
		at := bytes.Index(body[from:], []byte(id))
		if at < 0 {
			break
		}
		found = append(found, from+at+len(id)-12)
		from += at + len(id)
	}
	return found
}

// The last group of a UUID is twelve hexadecimal digits.
func number12(body []byte, at []int, number uint64) {
	for _, offset := range at {
		copy(body[offset:], fmt.Appendf(nil, "%012x", number))
	}
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
