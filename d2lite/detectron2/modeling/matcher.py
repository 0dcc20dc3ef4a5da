"""Anchor matching: names only; the real package has it."""

from __future__ import annotations

from detectron2._missing import missing

Matcher = missing("detectron2.modeling.matcher.Matcher")
