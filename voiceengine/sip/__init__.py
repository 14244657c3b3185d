"""The SIP edge: transports, digest, registrar, location, proxying between phones and workers."""
