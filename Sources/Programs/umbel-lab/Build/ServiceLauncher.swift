import Base
import Foundation
import HostNetwork

/// The programs of an `internet` host: web (nginx), names (dnsmasq), throughput (iperf3), echo
/// (socat).
struct ServiceLauncher {
    var host: Topology.Host
    var services: Topology.Services
    var folder: String
    var runner: CommandRunner

    /// Writes the configurations and says which programs are to run.
    ///
    /// - Throws: ``LabError`` where a program is missing or a file cannot be written.
    func programs() throws(LabError) -> [Manifest.Program] {
        try writeWeb()
        var programs = [
            try program(
                "web",
                port: 80,
                [
                    "nginx", "-p", folder, "-c", "\(folder)/nginx.conf", "-e",
                    "\(folder)/web.log",
                ]
            ),
            try program("names", port: 53, names),
            try program(
                "echo",
                port: services.echoPort,
                [
                    "socat", "-T60", "UDP6-LISTEN:\(services.echoPort),fork,ipv6only=0", "PIPE",
                ]
            ),
        ]
        for port in services.throughputPorts {
            programs.append(
                try program("iperf3-\(port)", port: port, ["iperf3", "-s", "-p", "\(port)"])
            )
        }
        return programs
    }

    private func program(
        _ title: String,
        port: UInt16,
        _ argv: [String]
    ) throws(LabError) -> Manifest.Program {
        do {
            return Manifest.Program(
                title: title,
                command: try runner.command(for: argv),
                log: "\(folder)/\(title).log",
                socket: nil,
                port: port,
                process: nil
            )
        } catch {
            throw LabError("host \(host.name) cannot run its \(title) server", error)
        }
    }

    /// Answers the topology's names with the host's own addresses; no forwarding, no cache.
    private var names: [String] {
        let addresses = host.addresses.map(\.description).joined(separator: ",")
        return [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
            "--no-hosts", "--user=root", "--pid-file=", "--log-queries", "--log-facility=-",
            "--cache-size=0", "--local-ttl=60",
        ] + services.names.map { "--host-record=\($0),\(addresses)" }
    }

    /// `/` says who asked, everything else is a file in the folder `www`: `/blob` is 16 MiB.
    private func writeWeb() throws(LabError) {
        let configuration = """
            daemon off;
            user root;
            worker_processes 1;
            pid \(folder)/nginx.pid;
            events { worker_connections 1024; }
            http {
                access_log \(folder)/web.access.log;
                client_body_temp_path \(folder)/tmp;
                proxy_temp_path \(folder)/tmp;
                fastcgi_temp_path \(folder)/tmp;
                uwsgi_temp_path \(folder)/tmp;
                scgi_temp_path \(folder)/tmp;
                default_type text/plain;
                sendfile on;
                server {
                    listen 80 default_server;
                    listen [::]:80 default_server;
                    location = / { return 200 "$remote_addr asked for $host\\n"; }
                    location / { root \(folder)/www; }
                }
            }

            """
        do {
            try Data(configuration.utf8).write(to: URL(fileURLWithPath: "\(folder)/nginx.conf"))
            try FileManager.default.createDirectory(
                atPath: "\(folder)/www",
                withIntermediateDirectories: true
            )
            let blob = "\(folder)/www/blob"
            _ = FileManager.default.createFile(atPath: blob, contents: nil)
            let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: blob))
            try handle.truncate(atOffset: 16 << 20)
            try handle.close()
        } catch {
            throw LabError("cannot write the web server's files of \(host.name)", why: "\(error)")
        }
    }
}
