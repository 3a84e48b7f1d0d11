package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iotsense/iotsense/internal/testenv"
)

// resolvEnv makes the test binary a confined process whose servers are in the file that it names.
const resolvEnv = "IOTSENSE_TEST_RESOLVER"

// askConfined says whom the process asks, and again after a line that it waits for.
func askConfined(file string) error {
	resolvConf = file
	if _, err := Enter(Config{Connect: true}); err != nil {
		return err
	}
	ask := func(address string) error {
		conn, err := net.DefaultResolver.Dial(context.Background(), "udp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = fmt.Println(conn.RemoteAddr())
		return err
	}
	err := ask(unreadable[0])
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	return errors.Join(err, ask(unreadable[0]), ask(unreadable[1]), ask("127.0.0.9:53"))
}

// A DHCP client puts another file in the place of resolv.conf; the servers of before are asked then.
func TestServersAreKept(t *testing.T) {
	testenv.Root(t)
	file := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(path, server string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("# by hand\nsearch lan\nnameserver "+server+"\nnameserver 127.9.9.8\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "127.9.9.9")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), resolvEnv+"="+file)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	got := []string{lines.Text()}
	write(file+".new", "127.9.9.7")
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in)
	for lines.Scan() {
		got = append(got, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	// The file says itself whom to ask while it can be read.
	const want = "127.0.0.1:53 127.9.9.9:53 127.9.9.8:53 127.0.0.9:53"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("asked %s, want %s", s, want)
	}
}
