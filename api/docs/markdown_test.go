package docs

import (
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"one\ntwo\n\nthree", "<p>one\ntwo</p>\n<p>three</p>\n"},
		{"## First call\ntext", `<h2 id="first-call">First call</h2>` + "\n<p>text</p>\n"},
		{"a `x < *y*` b", "<p>a <code>x &lt; *y*</code> b</p>\n"},
		{"**bold** and *faint*, 2 * 3 * 4", "<p><strong>bold</strong> and <em>faint</em>, 2 * 3 * 4</p>\n"},
		{"[t](https://example.com/a?b=1&c=2)", `<p><a href="https://example.com/a?b=1&amp;c=2">t</a></p>` + "\n"},
		{"[t](javascript:alert(1))", "<p>[t](javascript:alert(1))</p>\n"},
		{"<script>x</script>", "<p>&lt;script&gt;x&lt;/script&gt;</p>\n"},
		{"text\n- a\n  more\n- b\n\nend", "<p>text</p>\n<ul>\n<li>a more</li>\n<li>b</li>\n</ul>\n<p>end</p>\n"},
		{"1. a\n2. b", "<ol>\n<li>a</li>\n<li>b</li>\n</ol>\n"},
		{"```sh\na <b>\n\n## c\n```\nd", "<pre><code>a &lt;b&gt;\n\n## c\n</code></pre>\n<p>d</p>\n"},
		{"```\nnever closed", "<pre><code>never closed\n</code></pre>\n"},
		{"| a | b |\n|---|---|\n| `1` | |", `<div class="scroll"><table>` + "\n<tr><th>a</th><th>b</th></tr>\n<tr><td><code>1</code></td><td></td></tr>\n</table></div>\n"},
	} {
		if got, _ := markdown(tt.in); string(got) != tt.want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, tt.want)
		}
	}
}

// FuzzMarkdown shows that every text is rendered, to its end, without elements of its own.
func FuzzMarkdown(f *testing.F) {
	for _, seed := range []string{"## a\n\n- b\n| c |\n```\n", "1. \n2. x", "[<](/\"><b>)", "***`**", "|\n|-", "### \n##"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		html, _ := markdown(text)
		if strings.Contains(strings.ToLower(string(html)), "<script") || strings.Contains(string(html), "<b>") {
			t.Errorf("%q became %q", text, html)
		}
	})
}
