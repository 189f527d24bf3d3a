import Anonymity
import Foundation

/// The report as one page of HTML that needs nothing else: drawings with the table behind each.
struct ReportPage {
    let report: AnonymityReport

    /// The page; the same for the same figures.
    var html: String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>Umbel: anonymity, measured</title>
        <style>\(ReportStyle.css)</style>
        </head>
        <body>
        <header>
        <h1>Anonymity, measured</h1>
        <p>\(report.clients) clients, \(Self.escaped(report.traffic)), \
        \(AnonymityReport.figure(report.seconds)) s in models, seed \(report.seed)\(lossText). An observer sees \
        every client's link and the far side of every exit, and asks of each flow whose it is: \
        \(report.clients * (report.clients - 1)) pairs do not belong together. An area of 0.5 is \
        guessing, 1 is certainty. Figures for others are of models, for comparison only.</p>
        </header>
        <main>
        \(targets)
        \(summary)
        <div class="grid">
        \(areas)
        \(bits)
        \(curves)
        \(cells)
        \(price)
        \(delays)
        </div>
        \(tables)
        </main>
        <footer><p>An attack of many settings counts with the one that does best. Ranges are 95 % \
        intervals of a bootstrap over clients. Models are of single flows: one circuit a client, clocks \
        without error, all cells seen. What is not attacked here may still tell.</p></footer>
        </body>
        </html>

        """
    }

    private var lossText: String {
        guard report.accessLossPercent > 0 else { return "" }
        return ", \(AnonymityReport.figure(report.accessLossPercent)) % lost on links of the"
            + " simulated crowd's clients each way"
    }

    private static func escaped(_ text: String) -> String { Plot.escaped(text) }

    // MARK: Tables

    private static func table(_ head: [String], _ rows: [[String]]) -> String {
        let top = head.map { "<th scope=\"col\">\(escaped($0))</th>" }.joined()
        let body = rows.map { row in
            "<tr>"
                + row.enumerated().map { index, cell in
                    index == 0
                        ? "<th scope=\"row\">\(escaped(cell))</th>" : "<td>\(escaped(cell))</td>"
                }.joined() + "</tr>"
        }.joined()
        return "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>\(top)</tr></thead>"
            + "<tbody>\(body)</tbody></table></div>"
    }

    private static func card(
        _ title: String,
        _ text: String,
        _ drawing: String,
        legend: [(kind: String, name: String)] = [],
        _ head: [String],
        _ rows: [[String]]
    ) -> String {
        let keys = legend.map {
            "<li><i class=\"\($0.kind)\"></i>\(escaped($0.name))</li>"
        }.joined()
        return "<figure><figcaption><h2>\(escaped(title))</h2><p>\(escaped(text))</p></figcaption>"
            + drawing + (keys.isEmpty ? "" : "<ul class=\"legend\">\(keys)</ul>")
            + "<details><summary>Table</summary>\(table(head, rows))</details></figure>"
    }

    private static func figure(_ value: Double?) -> String {
        value.map { AnonymityReport.figure($0) } ?? "–"
    }

    private static func milliseconds(_ seconds: Double?) -> String {
        seconds.map { AnonymityReport.figure($0 * 1_000) } ?? "–"
    }

    private static func range(_ verdict: Verdict?) -> String {
        guard let verdict else { return "–" }
        return String(format: "%.3f [%.3f–%.3f]", verdict.auc, verdict.aucLow, verdict.aucHigh)
    }

    /// The verdict of the timing attack with most cells.
    private static func timing(_ result: ProcessResult) -> Verdict? {
        result.attacks.last { $0.attack == "timing" }?.verdict
    }

    // MARK: Parts

    private var targets: String {
        let mixes = report.processes.filter { $0.name == "mix" }
        return mixes.map { result in
            let items = AnonymityReport.targets(result).map {
                "<li class=\"\($0.isMet ? "met" : "missed")\"><b>\($0.isMet ? "reached" : "not reached")"
                    + "</b><span>\(Self.escaped($0.text)): \(Self.escaped($0.value))</span></li>"
            }.joined()
            return "<section class=\"targets\"><h2>What mix is to reach"
                + " (\(Self.escaped(result.source)))</h2><ul>\(items)</ul></section>"
        }.joined()
    }

    private var summary: String {
        let rows = report.processes.map { result -> [String] in
            let rates = result.best("rates")?.verdict
            return [
                AnonymityReport.label(result), Self.range(rates),
                Self.figure(rates?.truePositiveRate), Self.figure(rates?.topOne),
                Self.figure(rates?.entropyBits), Self.range(Self.timing(result)),
                Self.figure(result.cost.throughputBitsPerSecond / 1e6),
                Self.figure(result.cost.carriedShare * 100), Self.figure(result.cost.overhead),
                Self.milliseconds(result.cost.idleDelayMedian),
                Self.milliseconds(result.cost.idleDelayP95),
                Self.milliseconds(result.cost.delayMedian), Self.milliseconds(result.cost.delayP95),
                Self.figure(result.volumeFactor), Self.figure(result.idleBusyDistance),
            ]
        }
        return "<section><h2>In one table</h2>"
            + Self.table(
                [
                    "", "area, rates", "found at 1 false in 1,000", "top-1", "bits left",
                    "area, timing", "Mbit/s", "carried %", "wire / real", "single cell p50 ms",
                    "p95", "download p50 ms", "p95", "volume known to factor", "idle–busy (KS)",
                ],
                rows
            ) + "</section>"
    }

    private var areas: String {
        let rows = report.processes.map { result in
            Plot.Row(
                name: AnonymityReport.label(result),
                isOurs: result.isOurs,
                dots: [result.best("rates")?.verdict, Self.timing(result)].map { verdict in
                    verdict.map { ($0.auc, $0.aucLow, $0.aucHigh) }
                }
            )
        }
        return Self.card(
            "Who is it?",
            "Area under the curve of true against false positives; the line is guessing.",
            Plot.dots(
                rows,
                Plot.Axis(title: "area", range: 0.3...1, ticks: [0.3, 0.5, 0.7, 0.9, 1]),
                label: "Areas by rates and by timing for each way of sending",
                mark: 0.5
            ),
            legend: [("s0", "rates of downloads"), ("s1", "timing of single cells")],
            [
                "", "rates", "rates, seen between guard and middle", "information", "volume",
                "timing", "timing, nothing waiting",
            ],
            report.processes.map { result in
                [AnonymityReport.label(result)]
                    + ["rates", "between", "information", "volume"].map {
                        Self.range(result.best($0)?.verdict)
                    }
                    + [Self.range(Self.timing(result))]
                    + [Self.range(result.best("timing-sparse")?.verdict)]
            }
        )
    }

    private var bits: String {
        let most = log2(Double(max(2, report.clients)))
        let rows = report.processes.map { result in
            Plot.Row(
                name: AnonymityReport.label(result),
                isOurs: result.isOurs,
                dots: [result.best("rates")?.verdict, Self.timing(result)].map { verdict in
                    verdict.map { ($0.entropyBits, 0, $0.entropyBits) }
                }
            )
        }
        return Self.card(
            "How much is left to guess",
            "Entropy of the observer's belief in bits; the line is what a crowd of "
                + "\(report.clients) can give.",
            Plot.dots(
                rows,
                Plot.Axis(
                    title: "bits",
                    range: 0...most.rounded(.up),
                    ticks: (0...Int(most.rounded(.up))).map(Double.init)
                ),
                label: "Bits left for each way of sending",
                mark: most
            ),
            legend: [("s0", "after rates of downloads"), ("s1", "after timing of single cells")],
            ["", "bits, rates", "degree", "bits, timing", "degree"],
            report.processes.map { result in
                let (rates, timing) = (result.best("rates")?.verdict, Self.timing(result))
                return [
                    AnonymityReport.label(result), Self.figure(rates?.entropyBits),
                    Self.figure(rates?.degree), Self.figure(timing?.entropyBits),
                    Self.figure(timing?.degree),
                ]
            }
        )
    }

    private var curves: String {
        let best = report.processes.compactMap { result in
            result.best("rates").map { (AnonymityReport.label(result), $0.curve) }
        }
        let series = best.map { name, curve in
            Plot.Series(name: name, points: curve.filter { $0.count == 2 }.map { ($0[0], $0[1]) })
        }
        let shown = [1e-3, 1e-2, 0.1]
        return Self.card(
            "Found, at what price in errors",
            "Share of flows found by rates of downloads, over the share of false pairs taken for true.",
            Plot.lines(
                series,
                Plot.Axis(
                    title: "false positive rate",
                    range: 1e-4...1,
                    ticks: [1e-4, 1e-3, 1e-2, 0.1, 1],
                    isLogarithmic: true,
                    format: { $0 < 1e-3 ? "10⁻⁴" : $0 < 1e-2 ? "10⁻³" : String(format: "%g", $0) }
                ),
                Plot.Axis(title: "found", range: 0...1, ticks: [0, 0.25, 0.5, 0.75, 1]),
                label: "Curves of true against false positives"
            ),
            legend: series.enumerated().map { ("c\($0 % 10)", $1.name) },
            ["", "at 0.001", "at 0.01", "at 0.1"],
            best.map { name, curve in
                [name]
                    + shown.map { rate in
                        Self.figure(curve.last { $0.count == 2 && $0[0] <= rate }?[1])
                    }
            }
        )
    }

    private var cells: String {
        let counts = ModelExperiment.timingCounts
        var series: [(name: String, verdicts: [Verdict])] = []
        for result in report.processes where result.source == "model" {
            let verdicts = result.attacks.filter { $0.attack == "timing" }.map(\.verdict)
            guard verdicts.count == counts.count else { continue }
            series.append((AnonymityReport.label(result), verdicts))
        }
        return Self.card(
            "Single cells add up",
            "Area by timing over the number of real cells seen in ten minutes. The table has other senders.",
            Plot.lines(
                series.map { name, verdicts in
                    Plot.Series(
                        name: name,
                        points: zip(counts, verdicts).map { (Double($0), $1.auc) }
                    )
                },
                Plot.Axis(
                    title: "real cells",
                    range: 30...3_000,
                    ticks: [30, 300, 3_000],
                    isLogarithmic: true,
                    format: { "\(Int($0))" }
                ),
                Plot.Axis(title: "area", range: 0.4...1, ticks: [0.4, 0.5, 0.6, 0.8, 1]),
                label: "Areas by timing over the number of cells"
            ),
            legend: series.enumerated().map { ("c\($0 % 10)", $1.name) },
            [""] + counts.map { "\($0) cells" },
            (series + report.timing.map { ($0.title, $0.verdicts) }).map { name, verdicts in
                [name] + verdicts.map { Self.range($0) }
            }
        )
    }

    private var price: String {
        let points = report.processes.compactMap { result in
            result.best("rates").map {
                (
                    name: AnonymityReport.label(result), isOurs: result.isOurs,
                    x: result.cost.overhead, y: $0.verdict.auc
                )
            }
        }
        return Self.card(
            "What it costs in bandwidth",
            "Cells on the client's link for each real one, both ways, against the area by rates.",
            Plot.points(
                points,
                Plot.Axis(
                    title: "cells on the wire for each real one",
                    range: 0.8...40,
                    ticks: [1, 2, 5, 10, 20, 40],
                    isLogarithmic: true,
                    format: { "\(Int($0))" }
                ),
                Plot.Axis(title: "area", range: 0.4...1.02, ticks: [0.4, 0.5, 0.6, 0.8, 1]),
                label: "Overhead against area"
            ),
            ["", "wire / real", "Mbit/s a client", "carried %", "area, rates"],
            report.processes.map { result in
                [
                    AnonymityReport.label(result), Self.figure(result.cost.overhead),
                    Self.figure(result.cost.throughputBitsPerSecond / 1e6),
                    Self.figure(result.cost.carriedShare * 100),
                    Self.figure(result.best("rates")?.verdict.auc),
                ]
            }
        )
    }

    private var delays: String {
        func span(_ low: Double?, _ high: Double?) -> (Double, Double, Double)? {
            guard let low, let high else { return nil }
            return (low * 1_000, low * 1_000, high * 1_000)
        }
        let rows = report.processes.map { result in
            Plot.Row(
                name: AnonymityReport.label(result),
                isOurs: result.isOurs,
                dots: [
                    span(result.cost.delayMedian, result.cost.delayP95),
                    span(result.cost.idleDelayMedian, result.cost.idleDelayP95),
                ]
            )
        }
        return Self.card(
            "What it costs in time",
            "Added delay: the dot is the median, the line ends at 95 %. Single cells of nodes: round trips.",
            Plot.dots(
                rows,
                Plot.Axis(
                    title: "ms",
                    range: 0.1...1e6,
                    ticks: [0.1, 1, 10, 100, 1_000, 1e4, 1e5, 1e6],
                    isLogarithmic: true,
                    format: {
                        $0 >= 1e6
                            ? "1M"
                            : $0 >= 1_000 ? "\(Int($0 / 1_000))k" : String(format: "%g", $0)
                    }
                ),
                label: "Delays for each way of sending"
            ),
            legend: [("s0", "downloads, waiting included"), ("s1", "single cells")],
            ["", "download p50 ms", "p95", "p99", "single p50 ms", "p95", "lost %"],
            report.processes.map { result in
                [
                    AnonymityReport.label(result), Self.milliseconds(result.cost.delayMedian),
                    Self.milliseconds(result.cost.delayP95),
                    Self.milliseconds(result.cost.delayP99),
                    Self.milliseconds(result.cost.idleDelayMedian),
                    Self.milliseconds(result.cost.idleDelayP95),
                    Self.figure(result.cost.lossShare.map { $0 * 100 }),
                ]
            }
        )
    }

    private var tables: String {
        var parts = [
            "<section><h2>Guards that drop or delay in a pattern</h2><p>Loops raise an alarm at 2 % more"
                + " loss than is ordinary; delays they measure, and none is judged by them yet.</p>"
                + Self.table(
                    ["", "what the guard does", "area", "loss %", "noticed"],
                    report.active.map {
                        [
                            $0.name, $0.interference, Self.range($0.verdict),
                            Self.figure($0.lossShare * 100), $0.isNoticed ? "yes" : "no",
                        ]
                    }
                ) + "</section>",
            "<section><h2>Watchers of beginnings, ends and days</h2><p>One session a day of half an hour in"
                + " the median, at any time; 60 days. Days until one client alone was on line each time"
                + " the flow was seen.</p>"
                + Self.table(
                    ["client's habit", "area", "top-1", "days until named", "still possible"],
                    report.longTerm.map {
                        [
                            $0.habit.rawValue, Self.range($0.verdict),
                            Self.figure($0.verdict.topOne),
                            $0.medianDaysUntilNamed.map { "\($0)" } ?? "never",
                            "\($0.medianCandidates)",
                        ]
                    }
                ) + "</section>",
        ]
        if !report.collusion.isEmpty {
            parts.append(
                "<section><h2>Relays that collude</h2><p>The worst so many relays of the simulated crowd's"
                    + " network, and the share of circuits of which they have both ends.</p>"
                    + Self.table(
                        ["relays", "of", "both ends %"],
                        report.collusion.map {
                            ["\($0.relays)", "\($0.of)", Self.figure($0.bothEnds * 100)]
                        }
                    ) + "</section>"
            )
        }
        if !report.learned.isEmpty {
            parts.append(
                "<section><h2>A correlator that learned</h2><p>Trained on pairs of rates of some clients,"
                    + " tried on others.</p>"
                    + Self.table(
                        [
                            "", "accuracy", "area", "found at 1 false in 1,000", "trained on",
                            "tried on", "made with",
                        ],
                        report.learned.map {
                            [
                                $0.name, Self.figure($0.accuracy), Self.figure($0.auc),
                                Self.figure($0.truePositiveRate), "\($0.trainFlows) flows",
                                "\($0.testFlows) flows", $0.library,
                            ]
                        }
                    ) + "</section>"
            )
        }
        return parts.joined(separator: "\n")
    }
}
