//! nftables and dnsmasq texts, leases, addresses and bridge plans.
