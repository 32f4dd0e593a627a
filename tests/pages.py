"""Reading of HTML pages in tests."""

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise

VOID = ("meta", "img", "input", "path", "rect", "circle", "line")
HEADINGS = ("h1", "h2", "h3")


class Page(HTMLParser):
    """The tags of a page, its text, its headings, and what it would load from elsewhere."""

    def __init__(self, html):
        super().__init__()
        self.open, self.outside, self.headings, self.elements = [], [], [], []
        self.tags, self.words, self.ids = Counter(), [], []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        self.outside += [
            value
            for name, value in attrs
            if name in ("src", "href", "srcset", "data", "action")
            and not value.startswith(("data:", "#"))
        ]
        if tag not in VOID:
            self.open.append(tag)
        if tag in HEADINGS:
            self.headings.append((tag, ""))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if {"style", "script"} & set(self.open):
            return
        self.words.append(data)
        if self.headings and self.headings[-1][0] in self.open:
            tag, text = self.headings[-1]
            self.headings[-1] = (tag, text + data)

    def of_class(self, name):
        """The attributes of the elements of a class."""
        return [
            attributes
            for _, attributes in self.elements
            if name in (attributes.get("class") or "").split()
        ]

    def facts(self):
        """The pairs of a list of names and values, from the text."""
        return self._facts

    def check(self):
        assert self.open == []
        assert self.outside == []
        assert len(self.ids) == len(set(self.ids))
        links = [a["href"] for tag, a in self.elements if tag == "a"]
        assert {link.removeprefix("#") for link in links} <= set(self.ids)
        levels = [int(tag[1]) for tag, _ in self.headings]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        for tag, attributes in self.elements:
            assert not any(name.startswith("on") for name in attributes)
            assert tag != "img" or attributes.get("alt") is not None
            assert tag not in ("link", "iframe", "object", "embed", "base", "form")


def check_page(html):
    """Checks what holds for every page, and returns it."""
    page = Page(html)
    page.check()
    assert page.elements[0] == ("html", {"lang": "en"})
    assert len(re.findall("<title>.+</title>", html.partition("<body>")[0])) == 1
    assert not re.search(r"\b(None|nan|NaN|inf|undefined|True|False)\b", page.text)
    bare = re.sub(r"<script.*?</script>|<style>.*?</style>", "", html, flags=re.DOTALL)
    assert not re.search(r"(https?:)?//\w", bare)
    assert "default-src 'none'" in html
    names = re.findall(r"<dt>(.*?)</dt><dd><bdi>(.*?)</bdi></dd>", html)
    page._facts = names
    return page
