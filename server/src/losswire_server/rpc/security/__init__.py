"""Who calls, and by which right: certificates, tokens, and the guard at the edge."""
