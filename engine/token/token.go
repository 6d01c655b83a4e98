// Package token makes and reads the tokens by which browsers prove who they are and what they may do: JSON Web Tokens
// (RFC 7519) signed by Ed25519 (RFC 8037). It imports nothing of ours.
package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What tokens are made with, and must have.
const (
	issuer   = "tipring"
	audience = "tipring-rtc"
	leeway   = 30 * time.Second // that clocks may differ by

)

// DefaultTTL is how long a token lives unless asked otherwise. Its end touches no call that was begun with it.
const DefaultTTL = 10 * time.Minute

// What is wrong with a token that Verify refuses.
var (
	ErrInvalid = errors.New("the token is not valid")
	ErrExpired = errors.New("the token has expired")
)

// Claims are what a token says.
type Claims struct {
	ID            string
	Identity      string // who connects: "client:" + Identity is called
	ProjectID     string
	ApplicationID string   // that its calls run; "": the number decides
	Incoming      bool     // it may be called
	Outgoing      []string // what it may call: addresses, or prefixes ending in "*"
	ExpiresAt     time.Time
}

// MayCall reports whether the token allows a call to to.
func (c *Claims) MayCall(to string) bool {
	for _, p := range c.Outgoing {
		if prefix, ok := strings.CutSuffix(p, "*"); p == to || ok && strings.HasPrefix(to, prefix) {
			return true
		}
	}
	return false
}

// wire is a token's payload.
type wire struct {
	jwt.RegisteredClaims
	ProjectID     string   `json:"prj"`
	ApplicationID string   `json:"app,omitempty"`
	Incoming      bool     `json:"in,omitempty"`
	Outgoing      []string `json:"out,omitempty"`
}

// A Key signs and verifies tokens. Nodes that share its seed accept each other's.
type Key struct {
	id      string
	private ed25519.PrivateKey
	parser  *jwt.Parser
	now     func() time.Time
}

// SeedSize is the length of a Key's seed in bytes.
const SeedSize = ed25519.SeedSize

// NewKey makes the key of a seed of SeedSize random bytes.
func NewKey(seed []byte) (*Key, error) {
	if len(seed) != SeedSize {
		return nil, fmt.Errorf("token: a seed has %d bytes, not %d", SeedSize, len(seed))
	}
	k := &Key{private: ed25519.NewKeyFromSeed(seed), now: time.Now}
	sum := sha256.Sum256(k.public())
	k.id = base64.RawURLEncoding.EncodeToString(sum[:9])
	k.parser = jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithIssuer(issuer),
		jwt.WithAudience(audience), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway),
		jwt.WithTimeFunc(func() time.Time { return k.now() }))
	return k, nil
}

func (k *Key) public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// Mint makes the token of c. ExpiresAt is required.
func (k *Key) Mint(c Claims) (string, error) {
	now := k.now()
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, &wire{
		RegisteredClaims: jwt.RegisteredClaims{
			ID: c.ID, Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: c.Identity,
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(c.ExpiresAt),
		},
		ProjectID: c.ProjectID, ApplicationID: c.ApplicationID, Incoming: c.Incoming, Outgoing: c.Outgoing,
	})
	t.Header["kid"] = k.id
	s, err := t.SignedString(k.private)
	if err != nil {
		return "", fmt.Errorf("token: sign: %w", err)
	}
	return s, nil
}

// Verify reads a token. The error is ErrExpired or ErrInvalid, with the reason.
func (k *Key) Verify(s string) (Claims, error) {
	var w wire
	_, err := k.parser.ParseWithClaims(s, &w, func(t *jwt.Token) (any, error) {
		if t.Header["kid"] != k.id {
			return nil, errors.New("it is signed by another key")
		}
		return k.public(), nil
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return Claims{}, ErrExpired
	case err != nil:
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	case w.Subject == "" || w.ProjectID == "":
		return Claims{}, fmt.Errorf("%w: it names no identity", ErrInvalid)
	}
	return Claims{
		ID: w.ID, Identity: w.Subject, ProjectID: w.ProjectID, ApplicationID: w.ApplicationID,
		Incoming: w.Incoming, Outgoing: w.Outgoing, ExpiresAt: w.ExpiresAt.Time,
	}, nil
}

// JWKS is the public part of the key as a JSON Web Key Set (RFC 7517, RFC 8037).
func (k *Key) JWKS() []byte {
	b, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": k.id,
		"x": base64.RawURLEncoding.EncodeToString(k.public()),
	}}})
	if err != nil {
		return nil // strings can be marshalled
	}
	return b
}
