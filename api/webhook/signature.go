package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// sign sets the headers of Standard Webhooks 1.0.0: id, timestamp and one v1 signature (HMAC-SHA256 of id.timestamp.body)
// for each of secrets, which are parted by spaces. Without secrets there is no signature.
func sign(h http.Header, secrets, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	var signatures []string
	for secret := range strings.FieldsSeq(secrets) {
		mac := hmac.New(sha256.New, signingKey(secret))
		_, _ = mac.Write([]byte(id + "." + timestamp + ".")) // a hash never fails
		_, _ = mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if len(signatures) > 0 {
		h.Set("webhook-signature", strings.Join(signatures, " "))
	}
}

// signingKey is what "whsec_" and base64 stand for; a secret that is no base64 is taken as it is.
func signingKey(secret string) []byte {
	encoded := strings.TrimPrefix(secret, "whsec_")
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
		if key, err := e.DecodeString(encoded); err == nil {
			return key
		}
	}
	return []byte(encoded)
}
