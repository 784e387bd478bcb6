"""Numbers of linux/netfilter/nf_tables.h and nfnetlink.h, under the header's names without NFT_MSG_, NFTA_ or NFNL_."""

from __future__ import annotations

import socket
from typing import Final

__all__ = ["FAMILIES", "family_of"]

SUBSYS_NFTABLES: Final = 10
BATCH_BEGIN: Final = 0x10
BATCH_END: Final = 0x11
BATCH_GENID: Final = 1

NEWTABLE: Final = 0
GETTABLE: Final = 1
DELTABLE: Final = 2
NEWCHAIN: Final = 3
GETCHAIN: Final = 4
DELCHAIN: Final = 5
NEWRULE: Final = 6
GETRULE: Final = 7
DELRULE: Final = 8
NEWSET: Final = 9
GETSET: Final = 10
DELSET: Final = 11
NEWSETELEM: Final = 12
GETSETELEM: Final = 13
DELSETELEM: Final = 14

SET_ELEM_LIST_TABLE: Final = 1
SET_ELEM_LIST_SET: Final = 2
SET_ELEM_LIST_ELEMENTS: Final = 3
LIST_ELEM: Final = 1
SET_ELEM_KEY: Final = 1
SET_ELEM_DATA: Final = 2
SET_ELEM_USERDATA: Final = 6
SET_ELEM_EXPR: Final = 7
DATA_VALUE: Final = 1
EXPR_NAME: Final = 1
EXPR_DATA: Final = 2
COUNTER_BYTES: Final = 1
COUNTER_PACKETS: Final = 2
LIMIT_RATE: Final = 1
LIMIT_UNIT: Final = 2
LIMIT_BURST: Final = 3
LIMIT_TYPE: Final = 4
LIMIT_FLAGS: Final = 5
LIMIT_PKT_BYTES: Final = 1
LIMIT_F_INV: Final = 1
SET_ELEM_FLAGS: Final = 3

TABLE_NAME: Final = 1
TABLE_FLAGS: Final = 2
TABLE_OWNER: Final = 7
TABLE_F_OWNER: Final = 0x2
TABLE_F_PERSIST: Final = 0x4

CHAIN_TABLE: Final = 1
CHAIN_NAME: Final = 3
CHAIN_HOOK: Final = 4
CHAIN_POLICY: Final = 5
CHAIN_TYPE: Final = 7

RULE_TABLE: Final = 1
RULE_CHAIN: Final = 2
RULE_EXPRESSIONS: Final = 4

SET_TABLE: Final = 1
SET_NAME: Final = 2
SET_FLAGS: Final = 3
SET_KEY_TYPE: Final = 4
SET_KEY_LEN: Final = 5
SET_DATA_TYPE: Final = 6
SET_DATA_LEN: Final = 7
SET_DESC: Final = 9
SET_ID: Final = 10
SET_TIMEOUT: Final = 11
SET_GC_INTERVAL: Final = 12
SET_USERDATA: Final = 13
SET_OBJ_TYPE: Final = 15
SET_EXPR: Final = 17
SET_EXPRESSIONS: Final = 18
SET_DESC_SIZE: Final = 1
SET_ANONYMOUS: Final = 0x1

LOOKUP_SET: Final = 1
SET_COUNT: Final = 20
"""Elements in a set, said by newer kernels (6.18 does)."""

REQUEST: Final = 0x1
ACK: Final = 0x4
CREATE: Final = 0x400
DUMP: Final = 0x300
APPEND: Final = 0x800
DUMP_INTR: Final = 0x10
"""Flags of a message, linux/netlink.h without NLM_F_."""

ATTRIBUTE: Final = 0x3FFF
"""The bits of an attribute's kind that are no marks, NLA_TYPE_MASK."""

FAMILIES: Final = {"inet": 1, "ip": socket.AF_INET, "arp": 3, "bridge": socket.AF_BRIDGE, "ip6": socket.AF_INET6}
"""Families of tables by nft's words: NFPROTO_* of linux/netfilter.h."""


def family_of(number: int) -> str:
    """The word for a family's number; the number itself for one that has no table of ours."""
    return next((word for word, known in FAMILIES.items() if known == number), str(number))
