"""edge64's resolver: DNS64 (RFC 6147) in front of other resolvers. Imports nothing of appliance."""
