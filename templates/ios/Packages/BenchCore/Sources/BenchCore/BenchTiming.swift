// SPDX-License-Identifier: 0BSD

import Foundation

/// Warm-up until latency stands still, then the series. Only the call itself lies between two clock readings.
enum BenchTiming {
    typealias Call = () throws -> Void

    static let blockRuns = 20
    static let blockNs: Int64 = 50_000_000
    static let stillBlocks = 3
    static let still = 0.01
    static let storedMax = 16_384
    static let flushNs: Int64 = 250_000_000

    struct Warmed {
        let runs: Int
        let tookNs: Int64
        let converged: Bool
        /// The median of the last block.
        let typicalNs: Double
    }

    struct Measured {
        let runs: Int
        let stride: Int
        /// The untimed ones, too.
        let calls: Int
        let tookNs: Int64
    }

    static func timed(_ call: Call) throws -> Int64 {
        let start = BenchClock.now()
        try call()
        return BenchClock.now() - start
    }

    /// Runs at least the plan's time and runs, then until the medians of three blocks in a row lie within 1 %.
    ///
    /// A block is 20 runs or 50 ms, whichever is longer. The plan's cap ends it unconverged.
    static func warmUp(_ call: Call, plan: BenchPlan, progress: (Int) throws -> Void) throws -> Warmed {
        let start = BenchClock.now()
        let (least, most) = (start + nanoseconds(plan.warmupMinS), start + nanoseconds(plan.warmupMaxS))
        var medians: [Double] = []
        var (runs, now, isStill) = (0, start, false)
        while now < most, !(isStill && now >= least && runs >= plan.warmupMinRuns) {
            var block: [Int64] = []
            let blockEnd = now + blockNs
            while now < most, block.count < blockRuns || now < blockEnd {
                block.append(try timed(call))
                now = BenchClock.now()
            }
            runs += block.count
            medians.append(BenchStats.median(block))
            isStill = block.count >= blockRuns && standsStill(medians.suffix(stillBlocks))
            try progress(runs)
        }
        let typical = try medians.last ?? Double(timed(call))
        return Warmed(runs: runs, tookNs: now - start, converged: isStill, typicalNs: max(typical, 1))
    }

    private static func standsStill(_ medians: ArraySlice<Double>) -> Bool {
        guard medians.count == stillBlocks, let low = medians.min(), let high = medians.max() else { return false }
        return high <= (1 + still) * low
    }

    /// Times calls until the plan has its runs and its seconds, or its cap is reached.
    ///
    /// Results go out every 250 ms; the call after that is not timed, so that caches hold the model again.
    static func measure(
        _ call: Call, plan: BenchPlan, typicalNs: Double, series: BenchSeries, progress: (Int) throws -> Void
    ) throws -> Measured {
        let stride = max(1, Int((plan.minSeconds * 1e9 / typicalNs / Double(storedMax)).rounded(.up)))
        let start = BenchClock.now()
        let (enough, most) = (start + nanoseconds(plan.minSeconds), start + nanoseconds(plan.maxSeconds))
        var (before, now, runs, untimed, flushAt) = (start, start, 0, 0, start + flushNs)
        while runs == 0 || (now < most && (runs < plan.minRuns * stride || now < enough)) {
            before = BenchClock.now()
            try call()
            now = BenchClock.now()
            runs += 1
            let isFull = runs % stride == 0 && series.keep(now - before)
            if isFull || now >= flushAt {
                series.flush()
                try progress(runs)
                try call()
                untimed += 1
                flushAt = BenchClock.now() + flushNs
            }
        }
        if runs < stride { _ = series.keep(now - before) }
        series.flush()
        return Measured(runs: runs, stride: stride, calls: runs + untimed, tookNs: now - start)
    }

    private static func nanoseconds(_ seconds: Double) -> Int64 { Int64(seconds * 1e9) }
}

/// Latencies on their way out: a preallocated buffer that is emptied between calls, never inside one.
final class BenchSeries {
    static let bufferSize = 4096
    static let recordSize = 100

    private let channel: BenchChannel
    private var buffer = [Int64](repeating: 0, count: bufferSize)
    private var filled = 0
    private(set) var kept: [Int64] = []

    init(_ channel: BenchChannel) {
        self.channel = channel
        kept.reserveCapacity(BenchTiming.storedMax)
    }

    /// Stores a latency; says whether the buffer is full.
    @inline(__always)
    func keep(_ latencyNs: Int64) -> Bool {
        buffer[filled] = latencyNs
        filled += 1
        return filled == BenchSeries.bufferSize
    }

    /// Says what is in the buffer, the first of each record as it is and the rest as differences.
    func flush() {
        for start in stride(from: 0, to: filled, by: BenchSeries.recordSize) {
            let part = buffer[start..<min(start + BenchSeries.recordSize, filled)]
            let steps = [part[start]] + zip(part, part.dropFirst()).map { $1 - $0 }
            channel.say(
                "samples",
                [
                    "phase": "measure", "first_index": .whole(Int64(kept.count + start)),
                    "dns": .list(steps.map(Json.whole)),
                ])
        }
        kept += buffer[..<filled]
        filled = 0
    }
}

/// Statistics of latencies.
public enum BenchStats {
    public static func median(_ values: [Int64]) -> Double {
        let ordered = values.sorted()
        let middle = ordered.count / 2
        if ordered.isEmpty { return .nan }
        return ordered.count % 2 == 1 ? Double(ordered[middle]) : Double(ordered[middle - 1] + ordered[middle]) / 2
    }

    /// Nearest rank: the smallest value that at least `percent` of all do not exceed.
    public static func percentile(_ ordered: [Int64], _ percent: Int) -> Int64 {
        ordered[max((percent * ordered.count + 99) / 100, 1) - 1]
    }

    /// The checksum of latencies as little-endian 64-bit integers.
    public static func sha256(_ values: [Int64]) -> String {
        var digest = Sha256()
        for value in values {
            let bits = UInt64(bitPattern: value)
            digest.update((0..<8).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt64($0))) })
        }
        return digest.hex()
    }
}
