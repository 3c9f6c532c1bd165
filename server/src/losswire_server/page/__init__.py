"""The page for people at the port of metrics: its files, and the table of figures that it reads.

May import no other room. In ``static`` is what browsers get. ``static/vendor`` is written by ``make vendor``.
``static/numbers`` uses nothing of a browser, so node runs its tests.
"""
