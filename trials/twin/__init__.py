"""The float64 twin: what an answer should be, straight from the definitions, and how far one may be from it."""
