"""Charts of a PDF: lines and bars over labels, each with its table beside it."""

import math
from collections.abc import Sequence
from itertools import pairwise

from reportlab.lib.colors import HexColor

from app.reports.pdf_pages import BOLD, INNER, MARGIN, PALE, REGULAR, RULE, Sheets, lines_of, visible, width_of
from app.reports.report import Chart, Value
from app.reports.words import decimal_of, in_words

#: Colours that people tell apart who see fewer of them (Okabe and Ito); lines differ by their dashes too.
COLORS = [HexColor(each) for each in ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d00")]
DASHES = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (3, 3), (8, 3))
HEIGHT, LEFT_SHARE, SIZE, LINE = 190.0, 0.54, 6.5, 8.6


def draw(sheets: Sheets, chart: Chart) -> None:
    """Draws it where the page is, or on the next one."""
    height = max(HEIGHT, LINE * (len(chart.labels) + 2)) + 26
    sheets.need(height)
    top = sheets.y - 12
    sheets.text(MARGIN, top, visible(chart.title), size=10, font=BOLD)
    wide = INNER * LEFT_SHARE
    _plot(sheets, chart, left=MARGIN, top=top - 12, width=wide, height=HEIGHT - 12)
    _table(sheets, chart, left=MARGIN + wide + 22, top=top - 10, width=INNER - wide - 22)
    sheets.y -= height


def _plot(sheets: Sheets, chart: Chart, *, left: float, top: float, width: float, height: float) -> None:
    canvas = sheets.canvas
    values = [value for series in chart.series for value in series.values if value is not None]
    low, high, step = scale_of(min(values, default=0.0), max(values, default=0.0), _least_step(chart))
    ticks = [low + step * number for number in range(round((high - low) / step) + 1)]
    labels = [_axis(tick, chart) for tick in ticks]
    x0 = left + max(width_of(label, REGULAR, SIZE) for label in labels) + 6
    x1, y1 = left + width, top - 16
    y0 = top - height + 14
    span = (y1 - y0) / (high - low)
    for tick, label in zip(ticks, labels, strict=True):
        y = y0 + (tick - low) * span
        canvas.setStrokeColor(PALE if tick == 0 else RULE)
        canvas.setLineWidth(0.6 if tick == 0 else 0.35)
        canvas.line(x0, y, x1, y)
        sheets.text(x0 - 4, y - 2.2, label, size=SIZE, color=PALE, right=True)
    slot = (x1 - x0) / max(len(chart.labels), 1)
    _label(sheets, chart.labels, x0, slot, y0 - 9)
    for number, series in enumerate(chart.series):
        places = [
            (x0 + slot * (at + 0.5), y0 + (value - low) * span)
            for at, value in enumerate(series.values)
            if value is not None
        ]
        if chart.form == "lines":
            _line(sheets, places, number)
        else:
            _bars(sheets, places, number, len(chart.series), slot, y0 - low * span)
    _legend(sheets, chart, x0, top - 6, x1)


def _line(sheets: Sheets, places: Sequence[tuple[float, float]], number: int) -> None:
    canvas = sheets.canvas
    canvas.setStrokeColor(COLORS[number % len(COLORS)])
    canvas.setFillColor(COLORS[number % len(COLORS)])
    canvas.setLineWidth(1.4)
    canvas.setDash(*([list(DASHES[number % len(DASHES)])] if DASHES[number % len(DASHES)] else []))
    for (x0, y0), (x1, y1) in pairwise(places):
        canvas.line(x0, y0, x1, y1)
    canvas.setDash()
    for x, y in places:
        canvas.circle(x, y, 1.6, stroke=0, fill=1)


def _bars(
    sheets: Sheets, places: Sequence[tuple[float, float]], number: int, of: int, slot: float, zero: float
) -> None:
    canvas = sheets.canvas
    canvas.setFillColor(COLORS[number % len(COLORS)])
    wide = min(slot * 0.76 / of, 34)
    for x, y in places:
        canvas.rect(x + wide * (number - of / 2), min(y, zero), wide * 0.94, abs(y - zero), stroke=0, fill=1)


def _label(sheets: Sheets, labels: Sequence[str], x0: float, slot: float, y: float) -> None:
    """Under the places; every second, third … where there is no room for all."""
    widest = max((width_of(visible(label), REGULAR, SIZE) for label in labels), default=0.0)
    every = max(1, math.ceil((widest + 6) / slot))
    for at, label in enumerate(labels):
        if at % every == 0:
            text = visible(label)
            sheets.text(x0 + slot * (at + 0.5) - width_of(text, REGULAR, SIZE) / 2, y, text, size=SIZE, color=PALE)


def _legend(sheets: Sheets, chart: Chart, x: float, y: float, end: float) -> None:
    room = (end - x) / max(len(chart.series), 1)
    for number, series in enumerate(chart.series):
        sheets.canvas.setFillColor(COLORS[number % len(COLORS)])
        sheets.canvas.rect(x, y, 7, 5, stroke=0, fill=1)
        text = lines_of(visible(series.name), REGULAR, SIZE, room - 20)[0]
        sheets.text(x + 10, y, text, size=SIZE)
        x += min(room, width_of(text, REGULAR, SIZE) + 24)


def _table(sheets: Sheets, chart: Chart, *, left: float, top: float, width: float) -> None:
    """What was drawn, in numbers."""
    first = max(width_of(visible(label), REGULAR, SIZE) for label in (chart.first, *chart.labels, "0000-00")) + 6
    each = (width - first) / max(len(chart.series), 1)
    rights = [left + first + each * (at + 1) for at in range(len(chart.series))]
    y = top - SIZE
    sheets.text(left, y, visible(chart.first), size=SIZE, font=BOLD)
    for series, right in zip(chart.series, rights, strict=True):
        sheets.text(right, y, lines_of(visible(series.name), BOLD, SIZE, each - 6)[0], size=SIZE, font=BOLD, right=True)
    sheets.canvas.setStrokeColor(PALE)
    sheets.canvas.setLineWidth(0.5)
    sheets.canvas.line(left, y - 3, left + width, y - 3)
    for at, label in enumerate(chart.labels):
        y -= LINE
        sheets.text(left, y - 2, visible(label), size=SIZE)
        for series, right in zip(chart.series, rights, strict=True):
            text = in_words(_whole(series.values[at], chart), chart.kind, chart.currency)
            size = min(SIZE, SIZE * (each - 4) / max(width_of(text, REGULAR, SIZE), 0.1))
            sheets.text(right, y - 2, text, size=size, right=True)


def _whole(value: float | None, chart: Chart) -> Value:
    return value if value is None or chart.kind == "share" else int(value)


def _least_step(chart: Chart) -> float:
    """The axis of what is counted has no fractions."""
    return 0.0 if chart.kind == "share" else 1.0


def _axis(tick: float, chart: Chart) -> str:
    if chart.kind == "share":
        return f"{tick * 100:.0f} %"
    if chart.kind == "money" and chart.currency:
        amount = decimal_of(round(tick), chart.currency)
        return f"{amount:,.0f}" if amount == amount.to_integral_value() else f"{amount:,}"
    return f"{tick:,.0f}"


def scale_of(low: float, high: float, least_step: float) -> tuple[float, float, float]:
    """An axis that holds both and zero: its ends, and its step of 1, 2 or 5 times a power of ten."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = low + max(least_step, 1.0)
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(next(power * times for times in (1, 2, 5, 10) if power * times >= rough * 0.999), least_step)
    return math.floor(low / step) * step, math.ceil(high / step) * step, step
