package token

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func key(tb testing.TB, seed byte) *Key {
	tb.Helper()
	k, err := NewKey(bytes.Repeat([]byte{seed}, SeedSize))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func claims() Claims {
	return Claims{
		ID: "tok_1", Identity: "alice", ProjectID: "prj_1", ApplicationID: "app_1", Incoming: true, Outgoing: []string{"+49*", "client:bob"},
		ExpiresAt: time.Now().Add(DefaultTTL).Truncate(time.Second),
	}
}

func TestMintAndVerify(t *testing.T) {
	s, err := key(t, 1).Mint(claims())
	if err != nil {
		t.Fatal(err)
	}
	got, err := key(t, 1).Verify(s) // another node with the same seed
	if err != nil || !reflect.DeepEqual(got, claims()) {
		t.Errorf("%+v %v", got, err)
	}
	for to, want := range map[string]bool{"+4930": true, "client:bob": true, "client:bobby": false, "+1": false, "": false} {
		if got.MayCall(to) != want {
			t.Errorf("%s: %v", to, !want)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	k := key(t, 1)
	good, err := k.Mint(claims())
	if err != nil {
		t.Fatal(err)
	}
	part := strings.Split(good, ".")
	mint := func(method jwt.SigningMethod, signer any, change func(*wire, map[string]any)) string {
		w := &wire{RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: "eve", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		}, ProjectID: "prj_1"}
		tok := jwt.NewWithClaims(method, w)
		tok.Header["kid"] = k.id
		if change != nil {
			change(w, tok.Header)
		}
		s, err := tok.SignedString(signer)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, SeedSize))
	for name, s := range map[string]string{
		"nothing":                    "",
		"noise":                      "a.b.c",
		"alg none":                   mint(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil),
		"HS256 with the public key":  mint(jwt.SigningMethodHS256, []byte(k.public()), nil),
		"another key of the same id": mint(jwt.SigningMethodEdDSA, other, nil),
		"another id":                 mint(jwt.SigningMethodEdDSA, k.private, func(_ *wire, h map[string]any) { h["kid"] = "x" }),
		"another audience":           mint(jwt.SigningMethodEdDSA, k.private, func(w *wire, _ map[string]any) { w.Audience = jwt.ClaimStrings{"x"} }),
		"another issuer":             mint(jwt.SigningMethodEdDSA, k.private, func(w *wire, _ map[string]any) { w.Issuer = "x" }),
		"no end":                     mint(jwt.SigningMethodEdDSA, k.private, func(w *wire, _ map[string]any) { w.ExpiresAt = nil }),
		"nobody":                     mint(jwt.SigningMethodEdDSA, k.private, func(w *wire, _ map[string]any) { w.Subject = "" }),
		"not yet":                    mint(jwt.SigningMethodEdDSA, k.private, func(w *wire, _ map[string]any) { w.NotBefore = jwt.NewNumericDate(time.Now().Add(time.Hour)) }),
		"a changed payload":          part[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"eve"}`)) + "." + part[2],
		"without a signature":        part[0] + "." + part[1] + ".",
		"something behind it":        good + ".x",
	} {
		if c, err := k.Verify(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v %v", name, c, err)
		}
	}
	k.now = func() time.Time { return time.Now().Add(DefaultTTL + time.Minute) }
	if _, err := k.Verify(good); !errors.Is(err, ErrExpired) {
		t.Errorf("an old one: %v", err)
	}
	if _, err := NewKey([]byte("short")); err == nil {
		t.Error("a short seed is taken")
	}
}

func TestJWKS(t *testing.T) {
	k := key(t, 1)
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(k.JWKS(), &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%v %s", err, k.JWKS())
	}
	x, err := base64.RawURLEncoding.DecodeString(set.Keys[0]["x"])
	if err != nil || !bytes.Equal(x, k.public()) || set.Keys[0]["kid"] != k.id || set.Keys[0]["crv"] != "Ed25519" {
		t.Errorf("%v", set.Keys[0])
	}
}
