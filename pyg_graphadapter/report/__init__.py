"""Result files, and the tables, figures and page that are made of them; no torch."""
