"""HTML by hand: escaped text, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def text(value: object) -> str:
    """`value` as text of a page."""
    return escape(str(value))


def code(value: object) -> str:
    """`value` as code."""
    return f"<code>{text(value)}</code>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table of cells that are HTML already, which scrolls by itself where the screen is narrow.

    Args:
        numbers: columns that are set to the right.
    """
    right = [" class=number" if column in numbers else "" for column in range(len(header))]
    head = "".join(f"<th scope=col{align}>{text(name)}</th>" for align, name in zip(right, header, strict=True))
    cells = ((f"<td{align}>{cell}</td>" for align, cell in zip(right, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class=wide tabindex=0 role=group>{whole}</div>"


def figure(title: str, svg: str, caption: str) -> str:
    """A plot with its title and a sentence; empty where there is no plot."""
    return f"<figure><h3>{text(title)}</h3>{svg}<figcaption>{text(caption)}</figcaption></figure>" if svg else ""


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Short facts side by side."""
    return "<dl class=facts>" + "".join(f"<div><dt>{text(a)}</dt><dd>{text(b)}</dd></div>" for a, b in rows) + "</dl>"


def section(name: str, title: str, note: str, *parts: str) -> str:
    """A part of the page; empty where its parts are."""
    body = "".join(parts)
    said = f"<p>{text(note)}</p>" if note else ""
    return f"<section id={name}><h2>{text(title)}</h2>{said}{body}</section>" if body else ""
