extension RelayConfiguration {
    /// Lists of ports an exit may let out, by name.
    ///
    /// Mail between servers (25) and addresses that are not the internet stay refused in all of
    /// them. At most 32 ranges, as many as a descriptor says.
    public enum PortPreset: String, CaseIterable, Sendable {
        /// Web pages: HTTP and HTTPS, QUIC with it.
        case web
        /// What people use, without what draws complaints: no mail to servers, no file sharing.
        ///
        /// After Tor's reduced exit policy, shortened.
        case reduced
        /// All ports.
        case open

        /// The ports.
        public var ports: [ClosedRange<UInt16>] {
            switch self {
            case .web: [80...80, 443...443, 8080...8080, 8443...8443]
            case .reduced:
                [
                    20...23, 43...43, 79...81, 88...88, 110...110, 123...123, 143...143,
                    194...194, 389...389, 443...443, 500...500, 543...544, 554...554, 636...636,
                    873...873, 989...995, 1194...1194, 1723...1723, 3478...3481, 3690...3690,
                    4500...4500, 5190...5190, 5222...5228, 5900...5900, 6660...6697,
                    8000...8088, 8332...8333, 8443...8443, 8888...8888, 9418...9418,
                    11371...11371, 51820...51820,
                ]
            case .open: [1...UInt16.max]
            }
        }
    }
}
