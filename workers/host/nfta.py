"""Numbers of attributes in nf_tables' messages, named as the kernel names them: NFTA_RULE_CHAIN is `nfta.RULE_CHAIN`.

Source: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

TABLE = 1
"""The attribute that names the table, in messages of each kind; a table's own says its name so."""

TABLE_USE = 3
CHAIN_NAME, CHAIN_USE, CHAIN_COUNTERS = 3, 6, 8
RULE_CHAIN, RULE_EXPRESSIONS, RULE_USERDATA = 2, 4, 7
EXPRESSION_NAME, EXPRESSION_DATA = 1, 2
LOOKUP_SET, LOOKUP_SET_ID = 1, 4
SET_NAME, SET_FLAGS, SET_ID, SET_HANDLE, SET_TYPE, SET_COUNT = 2, 3, 10, 16, 19, 20
ELEMENTS_SET, ELEMENTS, ELEMENTS_SET_ID = 2, 3, 4
LIST_ELEMENT = 1
ELEMENT_KEY = 1
DATA_VALUE = 1
