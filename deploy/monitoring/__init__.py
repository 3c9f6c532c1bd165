"""What is written from the tables of metrics and figures: dashboards, rules and a page of the documents.

``make monitoring`` writes them. They are committed, and a test compares them with what the tables say.
"""
