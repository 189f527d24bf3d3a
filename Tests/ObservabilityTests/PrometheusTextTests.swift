import Observability
import Testing

@Suite("Metrics as text")
struct PrometheusTextTests {
    @Test("a metric has its help and type once, then its samples")
    func layout() {
        var text = PrometheusText()
        text.add(
            .counter,
            "umbel_cells_total",
            "Cells passed on.",
            [.init(["direction": "forward"], 3), .init(["direction": "backward"], UInt64(1) << 52)]
        )
        text.add(.gauge, "umbel_links", "Links.", [.init(0.5)])
        text.add(.gauge, "umbel_nothing", "No samples, no metric.", [])
        #expect(
            text.text == """
                # HELP umbel_cells_total Cells passed on.
                # TYPE umbel_cells_total counter
                umbel_cells_total{direction="forward"} 3
                umbel_cells_total{direction="backward"} 4503599627370496
                # HELP umbel_links Links.
                # TYPE umbel_links gauge
                umbel_links 0.5

                """
        )
    }

    @Test("values of labels may be any text, numbers any number")
    func escapes() {
        var text = PrometheusText()
        text.add(
            .gauge,
            "a",
            "back\\slash\nand \"quotes\"",
            [.init(["l": "a\"b\\c\nd ü"], .infinity), .init(["l": "n"], .nan), .init(-2)]
        )
        #expect(text.text.contains("# HELP a back\\\\slash\\nand \"quotes\"\n"))
        #expect(text.text.contains("a{l=\"a\\\"b\\\\c\\nd ü\"} +Inf\n"))
        #expect(text.text.contains("a{l=\"n\"} NaN\n"))
        #expect(text.text.hasSuffix("a -2\n"))
    }

    @Test("a histogram ends with all there is")
    func histogram() {
        var text = PrometheusText()
        text.addHistogram(
            "umbel_build_seconds",
            "Builds.",
            buckets: [(0.001, 1), (0.01, 4)],
            sum: 0.25,
            count: 5
        )
        #expect(
            text.text == """
                # HELP umbel_build_seconds Builds.
                # TYPE umbel_build_seconds histogram
                umbel_build_seconds_bucket{le="0.001"} 1
                umbel_build_seconds_bucket{le="0.01"} 4
                umbel_build_seconds_bucket{le="+Inf"} 5
                umbel_build_seconds_sum 0.25
                umbel_build_seconds_count 5

                """
        )
    }

    @Test("a name twice, a counter without its ending, a name that is none: faults of ours")
    func faults() async {
        await #expect(processExitsWith: .failure) {
            var text = PrometheusText()
            text.add(.gauge, "a", "", [])
            text.add(.gauge, "a", "", [])
        }
        await #expect(processExitsWith: .failure) {
            var text = PrometheusText()
            text.add(.counter, "umbel_cells", "", [])
        }
        await #expect(processExitsWith: .failure) {
            var text = PrometheusText()
            text.add(.gauge, "umbel cells", "", [])
        }
    }
}
