"""The strings of a piece of JSON, what is found in them, and a memory of pieces that come again.

A conversation is sent again and again, longer each time; its messages are pieces that were looked at before. Knows
which strings are said (and can be masked), which are matched by name (and cannot), and which are no text at all.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from membrain.dialects.strings import Leaf, Trail, strings_of
from membrain.masking.signed import SEALED, SIGNED
from membrain.pii.kinds import Span
from membrain.pii.vault import may_quote

Scan = Callable[[str], Sequence[Span]]
"""A text in, settled spans out; raises when it cannot say."""

FIXED = SIGNED | frozenset({
    "model", "role", "type", "id", "object", "status", "ttl", "encoding_format",
    "tool_call_id", "call_id", "tool_use_id", "tool_id", "item_id", "caller_id", "approval_request_id", "tab_id",
    "previous_response_id", "comparison_response_id", "previous_message_id", "continuation_id", "conversation",
    "container", "container_id", "file_id", "download_id", "skill_id", "connector_id", "tunnel_id", "workspace_id",
    "user_profile_id", "mcp_server_name", "server_label",
    "$ref", "$id", "$schema", "$defs", "format", "pattern",
})  # fmt: skip
"""Members whose value somebody matches by name."""

_FIXED_LISTS = frozenset({"enum", "required", "modalities", "vector_store_ids", "file_ids", "include", "betas"})
_PEOPLES_OWN = frozenset({"metadata", "properties", "variables", "headers", "env", "attributes"})
"""Members whose members have names of people's own choice."""
_GIVEN_TO_TOOLS = frozenset({"input", "arguments"})
"""Members in which everything is: what a tool is given."""
_KEYS = (
    "$defs $ref access_programs acknowledged_safety_checks action actions active additionalProperties allOf "
    "allowed_callers allowed_domains allowed_tools always annotations anyOf approval_request_id approve "
    "approximate arguments async attributes audio authorization authorization_token background background_options "
    "best_of betas bill_to billing_policy block_binding blocked_domains budget budget_tokens button bytes "
    "cache_control caching call_id caller caller_id categories citations cited_text city clear_at clear_at_least "
    "clear_tool_inputs client_tool_results close_tab code command commands compact_threshold compaction "
    "comparison_response_id completion_window complexity configs connector_id const container container_id "
    "content context context_compression context_management continuation_id conversation country cursor_position "
    "custom cyber data default default_config defer_loading definition description detail diagnostics diff "
    "dimensions disable_parallel_tool_use display display_height display_height_px display_number display_width "
    "display_width_px document_index document_title domain domain_secrets double_click download_id "
    "eager_input_streaming echo edits effort embedding_weight enable_zoom enabled encoding_format "
    "encrypted_content encrypted_index encrypted_stdout end_block_index end_char_index end_index end_page_number "
    "enum env environment error error_code error_message examples exclude_tools execution exit_code "
    "external_web_access fallback_credit_token fallbacks file file_data file_id file_ids file_type file_upload "
    "file_url filename filters find fingerprint form_input format frame_count frame_duration_ms frequency_penalty "
    "from function function_call functions generate_summary get_page_text grammar headers hold_key hover "
    "hybrid_search id image image_url include include_obfuscation include_usage index inference_geo input "
    "input_audio input_examples input_fidelity input_image_mask input_schema input_tokens instructions is_error "
    "is_file_update items javascript_exec json_schema keep key keys left_click left_click_drag left_mouse_down "
    "left_mouse_up lines list_tabs logit_bias logprob logprobs logs maxItems maxLength max_characters "
    "max_completion_tokens max_content_tokens max_num_results max_output_length max_output_tokens max_tokens "
    "max_tool_calls max_uses maximum mcp_server_name mcp_servers media_type memory_limit message messages "
    "metadata middle_click minItems minLength minimum modalities mode model moderation moderation_details "
    "moderation_stage mouse_move n name namespace navigate network_policy never new_lines new_start new_tab "
    "num_lines old_lines old_start oneOf operation outcome output output_compression output_config output_format "
    "output_schema output_tokens outputs oversized_image page_age parallel_tool_calls param parameters "
    "partial_images path pattern pause_after_compaction pending_safety_checks phase policy prediction "
    "prefix_mismatch_behavior presence_penalty previous_message_id previous_response_id prewarm prompt "
    "prompt_cache_breakpoint prompt_cache_key prompt_cache_options prompt_cache_retention properties quality "
    "queries query ranker ranking_options read_console read_network read_only read_page reason reasoning "
    "reasoning_content reasoning_effort reasoning_items reasoning_tokens refusal region remaining "
    "require_approval required response_format response_inclusion result results retrieved_at return_code "
    "revised_prompt right_click role safety_identifier schema score score_threshold screenshot scroll scroll_to "
    "scroll_x scroll_y search_content_types search_context_size search_result_index seed server_description "
    "server_label server_name server_tool_results server_url service_tier signature size size_bytes skill_id "
    "skills source sources speed start_block_index start_char_index start_index start_line start_page_number "
    "state_changes status stderr stdout stop stop_reason stop_sequences store stream stream_options strict suffix "
    "summary svg svg_usage switch_tab syntax system tab_id tabs task_budget temperature text text_weight thinking "
    "thinking_blocks thinking_signature thought_signature thread timeout_ms timezone title to token tool "
    "tool_call_id tool_calls tool_changes tool_choice tool_configuration tool_id tool_name tool_names "
    "tool_references tool_use_id tools toolset_name top_logprobs top_p total total_lines total_tokens "
    "transformations trigger triple_click truncation ttl tunnel_id type url url_sources use_cache user user_id "
    "user_input user_location user_profile_id value variables vector_store_ids verbosity version voice wait "
    "web_search_options working_directory workspace_id x y zoom "
)
KNOWN_KEYS = frozenset(_KEYS.split()) | FIXED
"""Keys that everybody uses. They are not looked at, and a place may be named by them."""

_MEDIA = re.compile(
    r"(?:data:[\w.+-]+/[\w.+-]+(?:;[\w=.-]+)*;base64,)?"
    r"(?:iVBORw0KGg|/9j/|R0lGOD|UklGR|Qk[01]|SUkq|TU0AK|JVBERi|SUQz|//[tuvk]|T2dnUw|GkXf|ZkxhQ|AAAA.{4}Z0eX|UEsDB)"
    r"[A-Za-z0-9+/_\s-]*={0,2}\s*"
)
"""Base64 that begins as pictures, sound, films, documents and archives do, and nothing else with it."""
_MEDIA_STARTS = (
    "data:", "iVBOR", "/9j/", "R0lGO", "UklGR", "Qk0", "Qk1", "SUkq", "TU0A", "JVBER", "SUQz", "//t", "//u", "//v",
    "//k", "T2dn", "GkXf", "ZkxhQ", "AAAA", "UEsDB",
)  # fmt: skip
"""How that begins: looked at first, because it costs a tenth of the pattern."""
_SAID_BY_ALL = frozenset({
    "user", "assistant", "system", "developer", "tool", "function", "text", "image_url", "object", "string",
    "json_object", "input_text", "output_text", "message", "function_call", "function_call_output", "reasoning",
    "tool_use", "tool_result", "thinking", "ephemeral", "completed", "image", "base64", "input_image", "json_schema",
})  # fmt: skip
"""What stands in fixed members of nearly every message. It need not be looked at."""
_NUMBERS = re.compile(rb"[:\[,]\s*-?\d{9}")
_LARGE = 10**8
_RANDOM = frozenset({"seed"})
"""Members that hold numbers of no meaning, of which one in ten has the check digit of a card."""
SAID = frozenset({"text", "content", "input_text", "output"})
"""Members that a model reads one after the other."""
SHORTEST = 3
"""Texts of fewer characters hold nothing."""
_OPAQUE = SIGNED | {"data"}
"""Members of which nobody but the provider can read a word."""
_PACKED = "mb1."
"""How what one provider signed begins where it is wrapped for the words of another dialect: base64 of JSON follows."""
IN_PROSE = frozenset({"PERSON", "LOCATION", "ADDRESS"})
"""Labels that are not believed in names, ids and across seams."""
_SEAM = 96
"""Characters on each side of the seam of two texts that a model reads as one."""


class Place:
    """One string, and what was found in it. `fixed` means that it cannot be changed.

    `signed` is what a string that has to return as it is was given to the caller as; empty for all others.
    """

    __slots__ = ("fixed", "leaf", "signed", "spans", "text")

    def __init__(self, leaf: Leaf, text: str, fixed: bool, signed: str = "") -> None:
        self.leaf, self.text, self.fixed, self.signed = leaf, text, fixed, signed
        self.spans: Sequence[Span] = ()

    def __repr__(self) -> str:
        return f"Place({self.leaf!r}, {len(self.spans)} found)"

    @property
    def is_said(self) -> bool:
        """Whether a model reads it right before or after others of its message."""
        return not self.fixed and self.leaf.place in SAID and bool(self.text)

    @property
    def is_prose(self) -> bool:
        """Whether names can be told from the words around them: not in ids, and not in what is encrypted."""
        return not self.fixed or (bool(self.signed) and self.leaf.place not in _OPAQUE)


class Piece:
    """The strings of *raw*, a JSON text whose data is *data*. Looked at once, and then never changed."""

    __slots__ = ("found", "places", "quotes", "raw", "said", "signed", "together")

    def __init__(self, raw: bytes, data: Any) -> None:
        self.raw = raw
        self.places = list(_places(raw, data))
        self.quotes = may_quote(raw)
        self.said = [place for place in self.places if place.is_said]
        self.signed = [place for place in self.places if place.signed]
        self.together = "\n".join(place.text for place in self.places if not place.fixed)
        """All that can be changed, as one text: to see soon that something is not in it."""
        self.found: list[int] = []
        """The places with findings, by their row."""

    def __repr__(self) -> str:
        return f"Piece({len(self.raw)} bytes, {len(self.places)} strings, {len(self.found)} with findings)"

    def texts(self) -> set[str]:
        """Every text that has to be looked at, once."""
        return {place.text for place in self.places if len(place.text) >= SHORTEST}

    def look(self, scan: Scan) -> None:
        """Fill in what *scan* finds in each text, and where two texts of one message meet."""
        for place in self.places:
            if len(place.text) >= SHORTEST and (found := scan(place.text)):
                place.spans = found if place.is_prose else [span for span in found if span.label not in IN_PROSE]
        for left, right in zip(self.said, self.said[1:], strict=False):
            for place, span in across(left, right, scan):
                place.spans = joined(place.spans, [span])
        self.found = [row for row, place in enumerate(self.places) if place.spans]


class Pieces:
    """Pieces that were looked at, by their bytes; the newest *size* bytes of them. For the event loop only."""

    __slots__ = ("_held", "_kept", "_size")

    def __init__(self, size: int = 8 << 20) -> None:
        self._size = size
        self._held = 0
        self._kept: OrderedDict[bytes, Piece] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return f"Pieces({len(self)})"

    def get(self, raw: bytes) -> Piece | None:
        """The piece with these bytes, if it is remembered."""
        piece = self._kept.get(raw)
        if piece is not None:
            self._kept.move_to_end(raw)
        return piece

    def keep(self, piece: Piece) -> None:
        """Remember *piece*, which was looked at."""
        if piece.raw not in self._kept:
            self._held += len(piece.raw)
        self._kept[piece.raw] = piece
        while self._held > self._size:
            raw, _ = self._kept.popitem(last=False)
            self._held -= len(raw)


def _places(raw: bytes, data: Any) -> Iterator[Place]:
    """Every string that is looked at, and every large number."""
    leaves = strings_of(raw)
    seals = _Seals(raw, leaves)
    for leaf in leaves:
        if leaf.is_key:
            if leaf.place not in KNOWN_KEYS:
                yield Place(leaf, str(leaf.place), fixed=True)
            continue
        text, fixed = leaf.text, _is_fixed(leaf)
        if (fixed and text in _SAID_BY_ALL) or (text.startswith(_MEDIA_STARTS) and _MEDIA.fullmatch(text)):
            continue
        if not text or not seals.hold(leaf):
            yield Place(leaf, text, fixed)
            continue
        yield Place(leaf, text, fixed=True, signed=text)
        if text.startswith(_PACKED):
            yield Place(leaf, _unpacked(text), fixed=True, signed=text)
    if _NUMBERS.search(raw):
        yield from _numbers(raw, data)


class _Seals:
    """Which strings of a piece have to return as they are, by what stands beside and around them."""

    __slots__ = ("_redacted", "_sealed", "_thoughts")

    def __init__(self, raw: bytes, leaves: Sequence[Leaf]) -> None:
        self._sealed = any(name.encode() in raw for name in SEALED)
        values = [leaf for leaf in leaves if not leaf.is_key] if b"signature" in raw or b"redacted" in raw else []
        self._thoughts = {id(leaf.around) for leaf in values if leaf.place == "signature" and leaf.end - leaf.start > 2}
        self._redacted = {
            id(leaf.around) for leaf in values if leaf.place == "type" and leaf.text == "redacted_thinking"
        }

    def hold(self, leaf: Leaf) -> bool:
        """Whether *leaf* is one of them."""
        if leaf.place in SIGNED and not _is_given(leaf):
            return True
        if leaf.place == "thinking":
            return id(leaf.around) in self._thoughts or self._is_sealed(leaf)
        return (leaf.place == "data" and id(leaf.around) in self._redacted) or self._is_sealed(leaf)

    def _is_sealed(self, leaf: Leaf) -> bool:
        return self._sealed and not SEALED.isdisjoint(leaf.path[:-1])


def _unpacked(text: str) -> str:
    """The JSON in what was wrapped for another dialect; "" if there is none."""
    try:
        return b64decode(text.removeprefix(_PACKED)).decode("utf-8", "replace")
    except ValueError:
        return ""


def _numbers(raw: bytes, data: Any) -> Iterator[Place]:
    """The large numbers of a piece, each with the name of its member before it, as texts that cannot be masked."""
    left: list[tuple[Any, Trail | None, int | str | None, str]] = [(data, (None, None), None, "")]
    while left:
        node, around, place, name = left.pop()
        if isinstance(node, dict | list):
            inside = around if place is None else (around, place)
            items = node.items() if isinstance(node, dict) else enumerate(node)
            left += [(each, inside, step, step if isinstance(step, str) else name) for step, each in items]
        elif isinstance(node, int | float) and abs(node) >= _LARGE and name not in _RANDOM:
            text = f"{name}: {node:.0f}" if isinstance(node, float) else f"{name}: {node}"
            yield Place(Leaf(raw, 0, 2, False, around, place), text, fixed=True)


def _is_fixed(leaf: Leaf) -> bool:
    if isinstance(leaf.place, str):
        return leaf.place in FIXED and not _names_a_property(leaf) and not _is_given(leaf)
    return leaf.around is not None and leaf.around[1] in _FIXED_LISTS and not _is_given(leaf)


def _names_a_property(leaf: Leaf) -> bool:
    """Whether what looks like a member of the wire is one of the caller's own, inside free-form data."""
    return leaf.around is not None and leaf.around[1] in _PEOPLES_OWN


def _is_given(leaf: Leaf) -> bool:
    """Whether it is inside of what a tool is given. The `input` at the top is not that, but all that is said."""
    around = leaf.around
    while around is not None:
        outer, place = around
        if place in _GIVEN_TO_TOOLS and outer is not None and outer[0] is not None:
            return True
        around = outer
    return False


def across(left: Place, right: Place, scan: Scan) -> Iterator[tuple[Place, Span]]:
    """Values that begin in one text and end in the next, as a finding in each of them."""
    if left.text[-1].isspace() or right.text[0].isspace():
        return
    before, after = left.text[-_SEAM:], right.text[:_SEAM]
    seam, shift = len(before), len(left.text) - len(before)
    for span in scan(before + after):
        if span.start < seam < span.end and span.label not in IN_PROSE:
            yield left, Span(shift + span.start, len(left.text), span.label, span.kind, span.severity)
            yield right, Span(0, span.end - seam, span.label, span.kind, span.severity)


def joined(spans: Sequence[Span], more: Iterable[Span]) -> list[Span]:
    """Both in order; what overlaps becomes one, under the label of the longer."""
    joined: list[Span] = []
    for span in sorted((*spans, *more)):
        if not joined or span.start >= joined[-1].end:
            joined.append(span)
            continue
        last = joined[-1]
        winner = span if span.end - span.start > last.end - last.start else last
        joined[-1] = Span(last.start, max(last.end, span.end), winner.label, winner.kind, winner.severity)
    return joined
