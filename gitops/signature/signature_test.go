package signature

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// payload is a commit object as Git writes it, by a committer.
func payload(email string) []byte {
	return []byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n" +
		"author Ann <ann@example.com> 1790000000 +0000\ncommitter Bob <" + email + "> 1790000000 +0000\n\nmessage\n\nbody\n")
}

func newSSH(t testing.TB) Key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return parsePrivate(t, private)
}

func parsePrivate(t testing.TB, private any) Key {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(pem.EncodeToMemory(block), nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newPGP makes an OpenPGP key: its private and its public text.
func newPGP(t testing.TB, config *packet.Config) (private, public []byte) {
	t.Helper()
	entity, err := openpgp.NewEntity("Bob", "", "bob@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, write func(w *strings.Builder) error) []byte {
		var raw, out strings.Builder
		if err := write(&raw); err != nil {
			t.Fatal(err)
		}
		w, err := armor.Encode(&out, kind, nil)
		if err == nil {
			_, err = w.Write([]byte(raw.String()))
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return []byte(out.String())
	}
	private = encode(openpgp.PrivateKeyType, func(w *strings.Builder) error { return entity.SerializePrivate(w, config) })
	public = encode(openpgp.PublicKeyType, func(w *strings.Builder) error { return entity.Serialize(w) })
	return private, public
}

func past(years int) *packet.Config {
	return &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return time.Unix(1790000000, 0).AddDate(-years, 0, 0) }}
}

func signed(t testing.TB, key Key, commit []byte) []byte {
	t.Helper()
	signature, err := Sign(key, commit)
	if err != nil {
		t.Fatal(err)
	}
	return Attach(commit, signature)
}

func signers(t testing.TB, data map[string]string) Signers {
	t.Helper()
	raw := map[string][]byte{}
	for key, value := range data {
		raw[key] = []byte(value)
	}
	s, err := ParseSigners(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestG26_SignaturesAreVerifiedAgainstBoundKeys: what counts, and why the rest does not.
func TestG26_SignaturesAreVerifiedAgainstBoundKeys(t *testing.T) {
	bob, eve, bot := newSSH(t), newSSH(t), newSSH(t)
	private, public := newPGP(t, past(1))
	pgp, err := ParseKey(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := signers(t, map[string]string{
		"authors":   "bob@example.com,*@team.example " + bob.PublicLine() + "\nbob@example.com " + pgp.PublicLine() + "\n",
		"approvers": "# leads\nBOB@example.com namespaces=\"git,file\" " + bob.PublicLine() + " a comment\n",
		"bots":      "belay@example.com " + bot.PublicLine(),
		"bob.asc":   string(public),
	})
	good := signed(t, bob, payload("bob@example.com"))
	text := func(raw []byte) string { c, _ := ParseCommit(raw); return c.Signature }
	foreign, err := sshsig.Sign(strings.NewReader(string(payload("bob@example.com"))), bob.ssh, sshsig.HashSHA512, "file")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		raw    []byte
		roles  string
		reason Reason
	}{
		"two roles":        {good, "[approvers authors]", ""},
		"wildcard":         {signed(t, bob, payload("cy@team.example")), "[authors]", ""},
		"OpenPGP":          {signed(t, pgp, payload("bob@example.com")), "[authors]", ""},
		"bot":              {signed(t, bot, payload("belay@example.com")), "[bots]", ""},
		"unsigned":         {payload("bob@example.com"), "", Unsigned},
		"unknown":          {signed(t, eve, payload("bob@example.com")), "", UnknownKey},
		"other's mail":     {signed(t, bob, payload("ann@example.com")), "", WrongPrincipal},
		"bot as a person":  {signed(t, bot, payload("bob@example.com")), "", WrongPrincipal},
		"changed message":  {[]byte(strings.Replace(string(good), "body", "evil", 1)), "", Bad},
		"other commit's":   {Attach(payload("bob@example.com"), text(signed(t, bob, payload("cy@team.example")))), "", Bad},
		"other namespace":  {Attach(payload("bob@example.com"), string(sshsig.Armor(foreign))), "", Bad},
		"two in one field": {Attach(payload("bob@example.com"), text(good)+"\n"+text(good)), "", Multiple},
		"two fields":       {Attach(good, text(good)), "", Multiple},
		"other hash":       {[]byte(strings.Replace(string(good), "\n\n", "\ngpgsig-sha256 x\n\n", 1)), "", Multiple},
		"PGP and PGP":      {Attach(payload("bob@example.com"), twice(t, text(signed(t, pgp, payload("bob@example.com"))))), "", Multiple},
		"text":             {Attach(payload("bob@example.com"), "hello"), "", Multiple},
		"X.509":            {Attach(payload("bob@example.com"), "-----BEGIN SIGNED MESSAGE-----\nAA==\n-----END SIGNED MESSAGE-----"), "", Malformed},
		"two committers":   {[]byte(strings.Replace(string(good), "\ncommitter", "\ncommitter Eve <eve@example.com> 1 +0000\ncommitter", 1)), "", Malformed},
		"NUL":              {append(good, 0), "", Malformed},
		"nothing":          {nil, "", Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			who, err := Verify(s, test.raw)
			if ReasonOf(err) != test.reason {
				t.Fatalf("got %v (%v), want reason %q", who, err, test.reason)
			}
			if test.reason == "" && fmt.Sprint(who.Roles) != test.roles {
				t.Errorf("roles %v, want %s", who.Roles, test.roles)
			}
		})
	}
}

// twice puts the packet of an armored signature there a second time.
func twice(t *testing.T, text string) string {
	block, err := armor.Decode(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var raw, out strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := block.Body.Read(buffer)
		raw.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	w, err := armor.Encode(&out, openpgp.SignatureType, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(raw.String() + raw.String()))
	_ = w.Close()
	return out.String()
}

func TestG26_WeakAndExpiredKeysAreRefused(t *testing.T) {
	private, public := newPGP(t, &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: 86400, Time: past(1).Time})
	expired, err := ParseKey(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	bob := newSSH(t)
	s := signers(t, map[string]string{
		"authors": "bob@example.com valid-after=\"20270101\" " + bob.PublicLine() + "\nbob@example.com " + expired.PublicLine(), "k.asc": string(public),
	})
	if _, err := Verify(s, signed(t, bob, payload("bob@example.com"))); ReasonOf(err) != NotValid {
		t.Errorf("a key before its time: %v", err)
	}
	if _, err := Sign(expired, payload("bob@example.com")); err == nil {
		t.Error("signed with an expired key")
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // the point of the test
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(short, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseKey(pem.EncodeToMemory(block), nil); ReasonOf(err) != Weak {
		t.Errorf("RSA of 1024 bits: %v", err)
	}
	signer, _ := ssh.NewSignerFromKey(short)
	weak, err := sshsig.Sign(strings.NewReader(string(payload("bob@example.com"))), signer, sshsig.HashSHA512, "git")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(s, Attach(payload("bob@example.com"), string(sshsig.Armor(weak)))); ReasonOf(err) != Weak {
		t.Errorf("signature of RSA of 1024 bits: %v", err)
	}
}

func TestSignersNameTheLineThatIsWrong(t *testing.T) {
	bob, bot := newSSH(t), newSSH(t)
	_, public := newPGP(t, past(1))
	for name, test := range map[string]struct {
		data map[string]string
		want string
	}{
		"nothing":      {nil, "0 signers"},
		"unknown key":  {map[string]string{"writers": "x"}, `key "writers": it is none of`},
		"no key":       {map[string]string{"authors": "\n# c\nbob@example.com"}, `key "authors": line 3`},
		"no principal": {map[string]string{"authors": bob.PublicLine()}, "line 1"},
		"negation":     {map[string]string{"authors": "!bob@example.com " + bob.PublicLine()}, "principal"},
		"namespace":    {map[string]string{"authors": `bob@example.com namespaces="file" ` + bob.PublicLine()}, "namespaces"},
		"authority":    {map[string]string{"authors": `bob@example.com cert-authority ` + bob.PublicLine()}, `"cert-authority" is not known`},
		"time":         {map[string]string{"authors": `bob@example.com valid-after="soon" ` + bob.PublicLine()}, "valid-after"},
		"fingerprint":  {map[string]string{"authors": "bob@example.com openpgp ABCD"}, "full fingerprint"},
		"no ring":      {map[string]string{"authors": "bob@example.com openpgp " + strings.Repeat("AB", 20)}, `ends in ".asc"`},
		"not a ring":   {map[string]string{"authors": "bob@example.com " + bob.PublicLine(), "k.asc": "x"}, `key "k.asc": not an armored`},
		"bot's key":    {map[string]string{"authors": "*@x " + bot.PublicLine(), "bots": "b@x " + bot.PublicLine()}, "for reverts only"},
		"dsa":          {map[string]string{"authors": "b@x ssh-dss AAAAB3NzaC1kc3MAAACBAP"}, "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := map[string][]byte{}
			for k, v := range test.data {
				raw[k] = []byte(v)
			}
			if _, err := ParseSigners(raw); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
	private, _ := newPGP(t, past(1))
	if _, err := ParseSigners(map[string][]byte{"k.asc": private}); err == nil || !strings.Contains(err.Error(), "private key") {
		t.Errorf("a private key among the signers: %v", err)
	}
	if _, err := ParseKey(public, nil); err == nil || !strings.Contains(err.Error(), "public key") {
		t.Errorf("a public key to sign with: %v", err)
	}
}

func TestKeysAreNotPrintedAndSignTheSameTwice(t *testing.T) {
	private, _ := newPGP(t, past(1))
	pgp, err := ParseKey(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []Key{newSSH(t), pgp} {
		one, two := signed(t, key, payload("a@b")), signed(t, key, payload("a@b"))
		if string(one) != string(two) {
			t.Errorf("%v: two signatures of one commit differ", key)
		}
		marshalled, err := json.Marshal(map[string]any{"k": key})
		out := fmt.Sprintf("%v %+v %#v %s %s", key, key, key, key, marshalled)
		if err != nil || len(out) > 200 || !strings.Contains(out, "signing key") {
			t.Errorf("a key prints as %q", out)
		}
		if _, err := Sign(key, one); err == nil {
			t.Error("signed a commit twice")
		}
	}
	if _, err := Sign(Key{}, payload("a@b")); err == nil {
		t.Error("signed without a key")
	}
}

// bench runs git, gpg and ssh-keygen in a folder of its own.
type bench struct {
	testing.TB
	dir string
}

func newBench(t testing.TB) bench {
	for _, tool := range []string{"git", "gpg", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("BELAY_TEST_REQUIRE") != "" {
				t.Fatalf("%s is missing and BELAY_TEST_REQUIRE is set", tool)
			}
			t.Skipf("%s is not there", tool)
		}
	}
	// A short path: gpg's agent listens on a socket in it.
	dir, err := os.MkdirTemp("/tmp", "bs")
	if err != nil {
		t.Fatal(err)
	}
	b := bench{t, dir}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", dir, "--kill", "all").Run()
		_ = os.RemoveAll(dir)
	})
	return b
}

func (b bench) run(input, name string, args ...string) string {
	b.Helper()
	command := exec.Command(name, args...)
	command.Dir, command.Stdin = b.dir, strings.NewReader(input)
	command.Env = append(os.Environ(), "GNUPGHOME="+b.dir, "HOME="+b.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Bob", "GIT_COMMITTER_EMAIL=bob@example.com")
	out, err := command.CombinedOutput()
	if err != nil {
		b.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (b bench) read(name string) []byte {
	raw, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

// raw is a commit object's bytes.
func (b bench) raw(revision string) []byte {
	return []byte(b.run("", "git", "cat-file", "commit", revision))
}

// store makes raw bytes a commit of the repository and returns its name.
func (b bench) store(raw []byte) string {
	return strings.TrimSpace(b.run(string(raw), "git", "hash-object", "-t", "commit", "-w", "--stdin"))
}

// TestG26_GitAgrees: what git, gpg and ssh-keygen sign is verified here, and what is signed here is verified by them.
func TestG26_GitAgrees(t *testing.T) {
	b := newBench(t)
	b.run("", "git", "init", "-q", "-b", "main", ".")
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		t.Run(kind, func(t *testing.T) {
			b := bench{t, b.dir}
			b.run("", "ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "bob", "-f", filepath.Join(b.dir, kind))
			list := "bob@example.com " + string(b.read(kind+".pub"))
			if err := os.WriteFile(filepath.Join(b.dir, "allowed"), []byte(list), 0o600); err != nil {
				t.Fatal(err)
			}
			config := []string{"-c", "gpg.format=ssh", "-c", "user.signingkey=" + filepath.Join(b.dir, kind), "-c", "gpg.ssh.allowedSignersFile=" + filepath.Join(b.dir, "allowed")}
			b.run("", "git", append(config, "commit", "-q", "-S", "--allow-empty", "-m", "with "+kind)...)
			s := signers(t, map[string]string{"authors": list})
			if who, err := Verify(s, b.raw("HEAD")); err != nil || !who.Has(Authors) {
				t.Errorf("what git signed: %v, %v", who, err)
			}
			key, err := ParseKey(b.read(kind), nil)
			if err != nil {
				t.Fatal(err)
			}
			c, _ := ParseCommit(b.raw("HEAD"))
			ours := b.store(signed(t, key, c.Payload))
			b.run("", "git", append(config, "verify-commit", ours)...)
		})
	}
	t.Run("gpg", func(t *testing.T) {
		b := bench{t, b.dir}
		b.run("", "gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-gen-key", "Bob <bob@example.com>", "ed25519", "sign", "never")
		b.run("", "git", "-c", "user.signingkey=bob@example.com", "commit", "-q", "-S", "--allow-empty", "-m", "with gpg")
		key, err := ParseKey([]byte(b.run("", "gpg", "--batch", "--armor", "--export-secret-keys", "bob@example.com")), nil)
		if err != nil {
			t.Fatal(err)
		}
		s := signers(t, map[string]string{
			"authors": "bob@example.com " + key.PublicLine(), "bob.asc": b.run("", "gpg", "--armor", "--export", "bob@example.com"),
		})
		if who, err := Verify(s, b.raw("HEAD")); err != nil || who.Fingerprint != key.Fingerprint() {
			t.Errorf("what gpg signed: %v, %v", who, err)
		}
		c, _ := ParseCommit(b.raw("HEAD"))
		b.run("", "git", "verify-commit", b.store(signed(t, key, c.Payload)))
	})
}

// FuzzVerify: whatever a server sends as a commit, nothing but a commit signed by Bob passes, and nothing panics.
func FuzzVerify(f *testing.F) {
	bob := newSSH(f)
	private, public := newPGP(f, past(1))
	pgp, err := ParseKey(private, nil)
	if err != nil {
		f.Fatal(err)
	}
	s := signers(f, map[string]string{"authors": "bob@example.com " + bob.PublicLine() + "\nbob@example.com " + pgp.PublicLine(), "k.asc": string(public)})
	good := payload("bob@example.com")
	f.Add(signed(f, bob, good))
	f.Add(signed(f, pgp, good))
	f.Add(good)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := Verify(s, raw); err == nil {
			if c, _ := ParseCommit(raw); string(c.Payload) != string(good) {
				t.Errorf("passes: %q", raw)
			}
		} else if ReasonOf(err) == "" {
			t.Errorf("an error without a reason: %v", err)
		}
	})
}

// FuzzParseSigners: no list makes it panic.
func FuzzParseSigners(f *testing.F) {
	bob := newSSH(f)
	_, public := newPGP(f, past(1))
	f.Add([]byte("bob@example.com "+bob.PublicLine()), public)
	f.Add([]byte("bob@example.com valid-after=\"2026\" openpgp "+strings.Repeat("A", 40)), []byte{})
	f.Fuzz(func(_ *testing.T, lines, ring []byte) {
		_, _ = ParseSigners(map[string][]byte{"authors": lines, "k.asc": ring})
	})
}
