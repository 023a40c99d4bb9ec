"""From records to tables, charts and pages."""
