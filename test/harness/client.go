package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// A Client speaks REST to a node. Every response is checked against openapi.yaml.
type Client struct {
	t        testing.TB
	base     string
	key      string
	contract *contract
}

// A Response of the API, body read.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Client speaks to the node with its own key, which has all scopes.
func (n *Node) Client() *Client { return n.ClientWith(n.Key) }

// ClientWith speaks to the node with another key.
func (n *Node) ClientWith(key string) *Client {
	n.t.Helper()
	c, err := loadContract()
	if err != nil {
		n.t.Fatal(err)
	}
	return &Client{t: n.t, base: "http://" + n.HTTP, key: key, contract: c}
}

// Do sends a request whose body is text, bytes or something to marshal, with header fields in pairs; a response that
// breaks the contract fails the test. It may be called from any goroutine.
func (c *Client) Do(method, path string, body any, header ...string) Response {
	c.t.Helper()
	var raw []byte
	switch b := body.(type) {
	case nil:
	case string:
		raw = []byte(b)
	case []byte:
		raw = b
	default:
		var err error
		if raw, err = json.Marshal(b); err != nil {
			c.t.Errorf("harness: body of %s %s: %v", method, path, err)
			return Response{}
		}
	}
	req, err := http.NewRequest(method, c.base+path, bytes.NewReader(raw))
	if err != nil {
		c.t.Errorf("harness: %v", err)
		return Response{}
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if raw != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Errorf("harness: %v", err)
		return Response{}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Errorf("harness: %s %s: %v", method, path, err)
	}
	if err := c.contract.check(req, raw, res, b); err != nil {
		c.t.Errorf("harness: %s %s → %d breaks the contract: %v\n%s", method, path, res.StatusCode, err, b)
	}
	return Response{Status: res.StatusCode, Header: res.Header, Body: b}
}

// Object is the body as a JSON object; nil if it is none.
func (r Response) Object() map[string]any {
	var m map[string]any
	if json.Unmarshal(r.Body, &m) != nil {
		return nil
	}
	return m
}

// Text is a member of the body's object as text.
func (r Response) Text(path string) string { return Event{Data: r.Object()}.Text(path) }

// Code is the code of a problem.
func (r Response) Code() string { return r.Text("code") }

// Must sends a request and fails the test unless the status is 2xx.
func (c *Client) Must(method, path string, body any, header ...string) Response {
	c.t.Helper()
	r := c.Do(method, path, body, header...)
	if r.Status/100 != 2 {
		c.t.Fatalf("%s %s: %d %s", method, path, r.Status, r.Body)
	}
	return r
}

// Application creates an application and gives its id.
func (c *Client) Application(fields map[string]any) string {
	c.t.Helper()
	if fields["name"] == nil {
		fields["name"] = c.t.Name()
	}
	return c.Must("POST", "/v1/applications", fields).Text("id")
}

// Number maps a number to an application and gives the number's id.
func (c *Client) Number(number, applicationID string) string {
	c.t.Helper()
	return c.Must("POST", "/v1/numbers", map[string]any{"number": number, "application_id": applicationID}).Text("id")
}

// Answering maps a number to a new application with these fields and gives the application's id. What the API has
// confirmed is in force: a call may follow at once.
func (c *Client) Answering(number string, fields map[string]any) string {
	c.t.Helper()
	id := c.Application(fields)
	c.Number(number, id)
	return id
}

// Action sends an action to a call and fails the test if it is refused.
func (c *Client) Action(callID, action string, params any) Response {
	c.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	return c.Must("POST", "/v1/calls/"+callID+"/actions/"+action, params)
}

// Try sends an action and returns whatever comes back.
func (c *Client) Try(callID, action string, params any) Response {
	c.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	return c.Do("POST", "/v1/calls/"+callID+"/actions/"+action, params)
}

// Originate starts a call and gives its id.
func (c *Client) Originate(fields map[string]any) string {
	c.t.Helper()
	return c.Must("POST", "/v1/calls", fields).Text("id")
}

// Call reads a call.
func (c *Client) Call(callID string) Response {
	c.t.Helper()
	return c.Must("GET", "/v1/calls/"+callID, nil)
}

// CallEvents reads a call's events by sequence, waiting up to waitS seconds for the first.
func (c *Client) CallEvents(callID string, after uint64, waitS int) []Event {
	c.t.Helper()
	r := c.Must("GET", "/v1/calls/"+callID+"/events?after="+strconv.FormatUint(after, 10)+"&wait_s="+strconv.Itoa(waitS), nil)
	var page struct {
		Data []Event `json:"data"`
	}
	if err := json.Unmarshal(r.Body, &page); err != nil {
		c.t.Fatalf("harness: events: %v\n%s", err, r.Body)
	}
	return page.Data
}

// WaitEvent polls a call's events until one of that type is there.
func (c *Client) WaitEvent(callID, typ string) Event {
	c.t.Helper()
	var found Event
	var seen []string
	Eventually(c.t, fmt.Sprintf("call %s has %s", callID, typ), func() bool {
		seen = seen[:0]
		for _, e := range c.CallEvents(callID, 0, 0) {
			if e.Type == typ {
				found = e
				return true
			}
			seen = append(seen, e.Type)
		}
		return false
	}, func() string { return "it has " + strings.Join(seen, " ") })
	return found
}
