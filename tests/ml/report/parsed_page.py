"""A report page taken apart for the tests: what a reader sees, and what could do harm."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """A page's text, ids, addresses, tags and headings, its script and styles apart; refuses tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.headings = [], [], [], []
        self.tags, self.text, self.script, self.policy = set(), "", "", ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.text += " "
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has a handler: {name}"
            if name == "id":
                self.ids.append(value)
            if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}:
                self.addresses.append(value)
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"]
        if tag == "h2":
            self.headings.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data
        elif self.open and self.open[-1] != "style":
            self.text += data
            if "h2" in self.open:
                self.headings[-1] += data

    @property
    def words(self):
        """The text with all white space as single blanks."""
        return " ".join(self.text.split())
