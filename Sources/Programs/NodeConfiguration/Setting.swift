/// What one key comes to, and who said so.
struct Setting {
    /// Who said so.
    enum Origin {
        /// The file.
        case file
        /// A variable of the environment.
        case environment
        /// Nobody: it is the default.
        case fallback
    }

    /// The key.
    let key: String
    /// Its value as a file says it; `nil` where it is not set and has no default.
    var text: String?
    /// Who said so.
    var origin: Origin
}

extension Document {
    /// The configuration in force, as a file that says all of it: what this one says, what variables
    /// say instead, and the defaults.
    ///
    /// Nothing in it is secret: secrets are in files, of which it has the paths. Of use only after
    /// all of the file has been read.
    var text: String {
        var lines = ["# \(file), with the defaults, and with what the environment overrides"]
        for section in sections where !section.settings.isEmpty {
            lines += ["", section.name.map { "[\($0)]" }].compactMap(\.self)
            for setting in section.settings { lines.append(line(of: setting, in: section)) }
        }
        return lines.joined(separator: "\n")
    }

    private func line(of setting: Setting, in section: Section) -> String {
        guard let text = setting.text else { return "# \(setting.key) is not set" }
        let line = "\(setting.key) = \(text)"
        return switch setting.origin {
        case .file: line
        case .environment: "\(line)  # \(Self.variable(section.name, setting.key))"
        case .fallback: "\(line)  # default"
        }
    }
}
