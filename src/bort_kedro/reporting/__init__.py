"""Reporting: the report, the cards, comparisons and plots of records that other rooms made."""
