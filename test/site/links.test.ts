/** The links of the built site are followed to the last. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { deadLinks } from "../../site/links.ts";

function dead(html: string, base = "/"): readonly string[] {
  return deadLinks(
    new Map([
      ["index.html", html],
      ["guides/first.html", '<h2 id="a-b">A</h2><h2 id="größe">G</h2>'],
      ["guides/index.html", ""],
      ["icon.svg", undefined],
    ]),
    base,
  );
}

describe("deadLinks", () => {
  for (const target of [
    "/guides/first.html",
    "/guides/first.html#a-b",
    "/guides/first.html#gr%C3%B6%C3%9Fe",
    "guides/first.html",
    "./guides/",
    "/",
    "/icon.svg",
    "https://example.org/gone",
    "//example.org/gone",
    "mailto:a@example.org",
    "#",
  ]) {
    test(`${target} leads somewhere`, () => assert.deepEqual(dead(`<a class="x" href="${target}">`), []));
  }

  for (const target of ["/gone.html", "/guides/first.html#gone", "#gone", "/icon.svg#part", "guides/first"]) {
    test(`${target} leads nowhere`, () => {
      assert.deepEqual(dead(`<p><a href="${target}">`), [`index.html: ${target}`]);
    });
  }

  test("images, scripts and styles are followed too", () => {
    const html = '<img alt="" src="/a.png"><script src="/b.js"></script><link rel="x" href="/c.css">';
    assert.deepEqual(dead(html), ["index.html: /a.png", "index.html: /b.js", "index.html: /c.css"]);
  });

  test("a link of the same page", () => assert.deepEqual(dead('<h2 id="here"><a href="#here">'), []));

  test("below a path of the server", () => {
    const html = '<a href="/site/icon.svg"><a href="/icon.svg"><a href="icon.svg"><a href="../icon.svg">';
    assert.deepEqual(dead(html, "/site/"), ["index.html: /icon.svg", "index.html: ../icon.svg"]);
  });

  test("once a page, however often it is there", () => {
    assert.deepEqual(dead('<a href="/x"><a href="/x">'), ["index.html: /x"]);
  });
});
