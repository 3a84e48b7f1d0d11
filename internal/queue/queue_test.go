package queue

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestOrder(t *testing.T) {
	var got []int
	q := New(1000, func(v int) error { got = append(got, v); return nil })
	var want []int
	for v := range 1000 {
		q.Put(v)
		want = append(want, v)
	}
	q.Close(time.Minute)
	if !slices.Equal(got, want) || q.Dropped() != 0 {
		t.Errorf("got %d values, %d dropped; want all 1000 in order", len(got), q.Dropped())
	}
}

// A listener that stands still costs the oldest values, and nobody waits for it.
func TestBlockedListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []int
		blocked := make(chan struct{})
		q := New(3, func(v int) error { <-blocked; got = append(got, v); return nil })
		q.Put(0)
		synctest.Wait() // the listener holds it
		for v := range 10 {
			q.Put(v + 1)
		}
		if q.Dropped() != 7 {
			t.Errorf("%d dropped while blocked, want 7", q.Dropped())
		}
		close(blocked)
		q.Close(time.Minute)
		if want := []int{0, 8, 9, 10}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// The end has a deadline, and what is left then is counted, as is what comes later.
func TestCloseDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		q := New(3, func(int) error { <-blocked; return nil })
		q.Put(0)
		synctest.Wait()
		for v := range 3 {
			q.Put(v)
		}
		begin := time.Now()
		q.Close(2 * time.Second)
		if took := time.Since(begin); took != 2*time.Second || q.Dropped() != 3 {
			t.Errorf("closed after %v with %d dropped, want 2 s and 3", took, q.Dropped())
		}
		q.Put(4)
		q.Close(time.Second)
		if q.Dropped() != 4 {
			t.Errorf("%d dropped after the end, want 4", q.Dropped())
		}
		close(blocked)
		synctest.Wait()
	})
}

// Whatever several producers and one listener do, each value is got or counted.
func TestEveryValueIsAccountedFor(t *testing.T) {
	var got uint64
	q := New(8, func(v int) error {
		if v%7 == 0 {
			return errors.New("not taken")
		}
		got++
		return nil
	})
	const producers, each = 4, 5000
	var all sync.WaitGroup
	for range producers {
		all.Go(func() {
			for v := range each {
				q.Put(v)
			}
		})
	}
	all.Wait()
	q.Close(time.Minute)
	if got+q.Dropped() != producers*each {
		t.Errorf("%d got + %d dropped, want %d", got, q.Dropped(), producers*each)
	}
}
