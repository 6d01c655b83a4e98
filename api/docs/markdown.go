package docs

import (
	"html/template"
	"regexp"
	"strings"
)

// A heading of a text, for the table of contents.
type heading struct{ Title, Anchor string }

// markdown renders the part of CommonMark that the contract is written in: paragraphs, headings from the second level on,
// lists, tables, fenced code; in lines: code, bold, emphasis and links. Everything else is text. HTML is escaped.
func markdown(text string) (html template.HTML, headings []heading) {
	m := &renderer{lines: strings.Split(strings.TrimRight(text, "\n"), "\n")}
	for m.at < len(m.lines) {
		m.block()
	}
	return template.HTML(m.out.String()), m.headings //nolint:gosec // the renderer escapes what it writes
}

type renderer struct {
	lines    []string
	at       int
	out      strings.Builder
	headings []heading
}

var ordered = regexp.MustCompile(`^\d+\. `)

func (m *renderer) line() string { return m.lines[m.at] }

// block renders what begins at the current line and moves behind it.
func (m *renderer) block() {
	line := m.line()
	switch {
	case strings.TrimSpace(line) == "":
		m.at++
	case strings.HasPrefix(line, "```"):
		m.fence()
	case strings.HasPrefix(line, "## "), strings.HasPrefix(line, "### "):
		m.heading()
	case strings.HasPrefix(line, "|"):
		m.table()
	case strings.HasPrefix(line, "- "):
		m.list("ul", func(l string) (string, bool) { return strings.CutPrefix(l, "- ") })
	case ordered.MatchString(line):
		m.list("ol", func(l string) (string, bool) {
			mark := ordered.FindString(l)
			return l[len(mark):], mark != ""
		})
	default:
		m.paragraph()
	}
}

func (m *renderer) fence() {
	m.out.WriteString("<pre><code>")
	for m.at++; m.at < len(m.lines) && !strings.HasPrefix(m.line(), "```"); m.at++ {
		m.out.WriteString(template.HTMLEscapeString(m.line()) + "\n")
	}
	m.at++
	m.out.WriteString("</code></pre>\n")
}

func (m *renderer) heading() {
	marks, title, _ := strings.Cut(m.line(), " ")
	tag := "h2"
	if len(marks) > 2 {
		tag = "h3"
	}
	h := heading{Title: title, Anchor: anchor(title)}
	m.headings = append(m.headings, h)
	m.out.WriteString("<" + tag + ` id="` + h.Anchor + `">` + inline(title) + "</" + tag + ">\n")
	m.at++
}

func (m *renderer) table() {
	m.out.WriteString(`<div class="scroll"><table>` + "\n")
	cell := "th"
	for ; m.at < len(m.lines) && strings.HasPrefix(m.line(), "|"); m.at++ {
		if strings.Trim(m.line(), "|-: ") == "" { // the rule under the head
			cell = "td"
			continue
		}
		m.out.WriteString("<tr>")
		for _, c := range cells(m.line()) {
			m.out.WriteString("<" + cell + ">" + inline(c) + "</" + cell + ">")
		}
		m.out.WriteString("</tr>\n")
	}
	m.out.WriteString("</table></div>\n")
}

// cells splits a row of a table.
func cells(row string) []string {
	parts := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// list renders items; lines that are indented go on with the item before.
func (m *renderer) list(tag string, item func(line string) (text string, ok bool)) {
	m.out.WriteString("<" + tag + ">\n")
	for m.at < len(m.lines) {
		text, ok := item(m.line())
		if !ok {
			break
		}
		for m.at++; m.at < len(m.lines) && strings.HasPrefix(m.line(), "  "); m.at++ {
			text += " " + strings.TrimSpace(m.line())
		}
		m.out.WriteString("<li>" + inline(text) + "</li>\n")
	}
	m.out.WriteString("</" + tag + ">\n")
}

func (m *renderer) paragraph() {
	var lines []string
	for ; m.at < len(m.lines); m.at++ {
		l := m.line()
		if strings.TrimSpace(l) == "" || len(lines) > 0 && (strings.HasPrefix(l, "- ") || strings.HasPrefix(l, "|") ||
			strings.HasPrefix(l, "```") || ordered.MatchString(l)) {
			break
		}
		lines = append(lines, l)
	}
	m.out.WriteString("<p>" + inline(strings.Join(lines, "\n")) + "</p>\n")
}

var (
	link     = regexp.MustCompile(`\[([^\]]+)\]\(((?:https?://|/|#)[^)\s]*)\)`)
	bold     = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	emphasis = regexp.MustCompile(`\*([^*\s][^*]*)\*`)
)

// inline renders code, bold, emphasis and links of escaped text. Nothing is rendered inside code.
func inline(text string) string {
	var out strings.Builder
	for i, part := range strings.Split(text, "`") {
		part = template.HTMLEscapeString(part)
		if i%2 == 1 {
			out.WriteString("<code>" + part + "</code>")
			continue
		}
		part = link.ReplaceAllString(part, `<a href="$2">$1</a>`)
		part = bold.ReplaceAllString(part, "<strong>$1</strong>")
		out.WriteString(emphasis.ReplaceAllString(part, "<em>$1</em>"))
	}
	return out.String()
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

// anchor makes a fragment identifier of a title.
func anchor(title string) string {
	return strings.Trim(notWord.ReplaceAllString(strings.ToLower(title), "-"), "-")
}
