// SPDX-License-Identifier: 0BSD

import Foundation

/// What an app says of itself in the first record.
public struct BenchIdentity: Sendable {
    public let app: String
    public let version: String

    public init(app: String, version: String) {
        self.app = app
        self.version = version
    }
}

/// One session, phase by phase, each told as it ends: load cold, parity, load warm, first, warm-up, measure.
public final class BenchSession {
    private static let protocolVersion = "1.0"
    private static let messageMax = 400

    private let order: BenchOrder
    private let engine: (any InferenceEngine)?
    private let home: URL
    private let channel: BenchChannel
    private var phase = "start"
    private var batteryPercent: @Sendable () -> Int? = { nil }

    /// Makes the result file; `live` gets every frame, without its line end.
    public init(
        _ order: BenchOrder, engines: [any InferenceEngine], home: URL, live: @escaping @Sendable (String) -> Void
    ) throws {
        self.order = order
        self.home = home
        engine = engines.first { $0.target == order.target }
        channel = try BenchChannel(run: order.run, file: order.resultFile(home: home), live: live)
    }

    /// Runs the session and says whether it was measured; whatever goes wrong is told, never thrown.
    ///
    /// How full the battery is, is asked around `measure` alone. It is no energy: one percent is some hundred joules.
    /// The system tells no app more, so there is neither a phase `idle` nor a record `power`.
    public func run(as identity: BenchIdentity, batteryPercent: @escaping @Sendable () -> Int? = { nil }) -> Bool {
        self.batteryPercent = batteryPercent
        do {
            try measured(identity)
        } catch {
            channel.say(
                "error",
                [
                    "code": .text(code(of: error)), "msg": .text(String("\(error)".prefix(BenchSession.messageMax))),
                    "where": .text(phase), "fatal": true,
                ])
            channel.close(ok: false)
            return false
        }
        channel.close(ok: true)
        return true
    }

    private func code(of error: any Error) -> String {
        if let failure = error as? BenchFailure, failure.code != "bad_args" || phase == "start" { return failure.code }
        if phase.hasPrefix("load") { return "load_failed" }
        return phase == "parity" ? "check_failed" : "run_failed"
    }

    private func measured(_ identity: BenchIdentity) throws {
        let model = BenchOrder.place(order.model, home)
        let found = FileManager.default.fileExists(atPath: model.path) ? try Sha256.of(file: model) : ""
        sayHello(identity, modelSha256: found)
        channel.startBeating()
        let engine = try checked(found)
        let golden = try order.golden.map { try Npz.samples(BenchOrder.place($0, home)) }
        let prepared = try engine.prepare(model)
        try loadAndCheck(engine, prepared, golden)
        let session = try phased("load_warm") { try open(engine, prepared) }
        try session.bind(golden?.first?.inputs ?? seededFeeds(session))
        let (_, firstNs) = try timedPhase("first") { try session.predict() }
        finish("first", tookNs: firstNs)
        try time(session)
    }

    private func sayHello(_ identity: BenchIdentity, modelSha256: String) {
        let process = ProcessInfo.processInfo
        channel.say(
            "hello",
            [
                "proto": .text(BenchSession.protocolVersion), "run": .text(order.run), "app": .text(identity.app),
                "app_ver": .text(identity.version), "runtime": .text(engine?.runtime ?? order.target),
                "runtime_ver": .text(engine?.runtimeVersion ?? ""), "model_sha256": .text(modelSha256),
                "os": .text(String(process.operatingSystemVersionString.prefix(200))),
                "device": .text(Machine.hardware), "pid": .whole(Int64(process.processIdentifier)),
                "page_size": .whole(Int64(Machine.pageSize)), "clock": .text(BenchClock.name),
                "caps": ["parity", "stride"],
            ])
    }

    private func checked(_ found: String) throws -> any InferenceEngine {
        guard let engine else { throw BenchFailure("bad_args", "this app does not execute \(order.target)") }
        guard !found.isEmpty else { throw BenchFailure("model_missing", "there is no \(order.model)") }
        guard found == order.modelSha256 else {
            throw BenchFailure("model_hash", "the model's sha256 is \(found), not \(order.modelSha256)")
        }
        guard engine.accelerators.contains(order.plan.accelerator) else {
            throw BenchFailure(
                "accelerator_unavailable", "\(engine.runtime) offers \(engine.accelerators), not \(order.plan.accelerator)")
        }
        return engine
    }

    private func loadAndCheck(_ engine: any InferenceEngine, _ prepared: URL, _ golden: [GoldenSample]?) throws {
        if !Machine.resetPeak() {
            warn("peak_not_reset", "the peak memory counts from the start of the process")
        }
        sayMemory("before_load")
        let session = try phased("load_cold") { try open(engine, prepared) }
        sayMemory("after_load")
        sayPlacement(try session.placement())
        begin("parity")
        if let golden { try sayParity(session, golden) }
        finish("parity")
        _ = Machine.resetPeak()
    }

    private func open(_ engine: any InferenceEngine, _ prepared: URL) throws -> any InferenceSession {
        try engine.open(prepared, accelerator: order.plan.accelerator, threads: order.plan.threads)
    }

    private func sayParity(_ session: any InferenceSession, _ golden: [GoldenSample]) throws {
        let distances = try GoldenCheck.distances(session, golden) { done in
            channel.progressed("parity", done, golden.count)
            try channel.check()
        }
        let known = session.outputs.map(\.name).filter { distances[$0] != nil }
        let names = known + distances.keys.filter { !known.contains($0) }.sorted()
        for (index, name) in names.enumerated() {
            let distance = distances[name] ?? ParityDistance()
            channel.say(
                "parity",
                [
                    "output_index": .whole(Int64(index)), "output": .text(name), "max_abs": .number(distance.maxAbs),
                    "cos": .number(distance.cosine), "top1": distance.top1.map(Json.number),
                    "n": .whole(Int64(distance.samples)),
                ])
        }
    }

    /// Floats in [0, 1), and zeros for the rest: they are valid as indices of any table.
    private func seededFeeds(_ session: any InferenceSession) throws -> [String: Tensor] {
        warn("random_inputs", "no golden samples: timed on seeded random inputs")
        var generator = SplitMix64(state: order.plan.seed)
        var feeds: [String: Tensor] = [:]
        for input in session.inputs {
            let shape = input.shape.map { max($0, 1) }
            let count = Tensor.count(of: shape) ?? 0
            let values = (0..<count).map { _ in input.type.isFloat ? Float.random(in: 0..<1, using: &generator) : 0 }
            feeds[input.name] = try Tensor(values, type: input.type, shape: shape)
        }
        return feeds
    }

    private func time(_ session: any InferenceSession) throws {
        let call = { try session.predict() }
        begin("warmup")
        let warmed = try BenchTiming.warmUp(call, plan: order.plan) { try progressed("warmup", $0) }
        finish("warmup", tookNs: warmed.tookNs, runs: warmed.runs, converged: warmed.converged)
        sayEnvironment("start")
        let series = BenchSeries(channel)
        begin("measure")
        let done = try BenchTiming.measure(
            call, plan: order.plan, typicalNs: warmed.typicalNs, series: series, progress: { try progressed("measure", $0) })
        finish("measure", tookNs: done.tookNs, runs: done.runs, calls: done.calls)
        sayEnvironment("end")
        sayMemory("end")
        sayResult(series.kept, done)
        try channel.check()
    }

    private func sayResult(_ latencies: [Int64], _ done: BenchTiming.Measured) {
        let ordered = latencies.sorted()
        let mean = Double(latencies.reduce(0, +)) / Double(latencies.count)
        channel.say(
            "result",
            [
                "n": .whole(Int64(ordered.count)), "p50": .whole(BenchStats.percentile(ordered, 50)),
                "p90": .whole(BenchStats.percentile(ordered, 90)), "p99": .whole(BenchStats.percentile(ordered, 99)),
                "min": .whole(ordered[0]), "mean": .number(mean), "samples_sha256": .text(BenchStats.sha256(latencies)),
                "runs": .whole(Int64(done.runs)), "stride": .whole(Int64(done.stride)),
            ])
    }

    private func sayEnvironment(_ at: String) {
        let battery = batteryPercent().map { Json.object(["raw": .whole(Int64($0)), "unit_guess": "percent"]) }
        channel.say(
            "env",
            [
                "at": .text(at), "thermal": Machine.thermal.map(Json.text), "battery": battery,
                "low_power": Machine.isLowPower.map(Json.truth),
            ])
    }

    private func sayMemory(_ at: String) {
        let memory = Machine.memory()
        channel.say(
            "mem",
            [
                "at": .text(at), "rss_kb": .whole(Int64(memory.rssKb)),
                "peak_kb": memory.peakKb.map { .whole(Int64($0)) },
                "footprint_kb": memory.footprintKb.map { .whole(Int64($0)) },
            ])
    }

    private func sayPlacement(_ placement: Placement?) {
        guard let placement else { return }
        channel.say(
            "place",
            [
                "requested": .text(placement.requested), "delegated_nodes": .whole(Int64(placement.delegatedNodes)),
                "total_nodes": .whole(Int64(placement.totalNodes)), "partitions": .whole(Int64(placement.partitions)),
                "source": .text(placement.source), "fallback": .truth(placement.isFallback),
            ])
    }

    private func warn(_ code: String, _ message: String) {
        channel.say("warn", ["code": .text(code), "msg": .text(message)])
    }

    private func progressed(_ phase: String, _ runs: Int) throws {
        channel.progressed(phase, runs)
        try channel.check()
    }

    private func phased<Made>(_ name: String, _ work: () throws -> Made) throws -> Made {
        let (made, tookNs) = try timedPhase(name, work)
        finish(name, tookNs: tookNs)
        return made
    }

    private func timedPhase<Made>(_ name: String, _ work: () throws -> Made) throws -> (Made, Int64) {
        begin(name)
        let start = BenchClock.now()
        let made = try work()
        return (made, BenchClock.now() - start)
    }

    private func begin(_ name: String) {
        phase = name
        channel.say("phase", ["name": .text(name), "edge": "begin"])
        channel.progressed(name, 0)
    }

    private func finish(_ name: String, tookNs: Int64? = nil, runs: Int? = nil, converged: Bool? = nil, calls: Int? = nil) {
        channel.say(
            "phase",
            [
                "name": .text(name), "edge": "end", "took_ns": tookNs.map(Json.whole),
                "runs": runs.map { .whole(Int64($0)) }, "converged": converged.map(Json.truth),
                "calls": calls.map { .whole(Int64($0)) },
            ])
    }
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): seeded, the same everywhere.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
