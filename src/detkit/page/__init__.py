"""Pages that open anywhere: one HTML document, its styles and scripts, and a policy under which it fetches nothing."""
