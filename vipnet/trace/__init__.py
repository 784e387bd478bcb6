"""The way of a packet through the model, stage by stage, and what of it is really installed."""

from __future__ import annotations

from vipnet.trace.judge import Explained, explain
from vipnet.trace.modelindex import ModelIndex
from vipnet.trace.question import Question, ask
from vipnet.trace.shown import shown

__all__ = ["Explained", "ModelIndex", "Question", "ask", "explain", "shown"]
