// SPDX-License-Identifier: 0BSD

import Foundation
import Testing

@testable import BenchCore

/// Doubles its one input; counts what is asked of it.
private final class DoublingSession: InferenceSession {
    let inputs = [TensorSpec(name: "x", type: .float32, shape: [1, 2])]
    let outputs = [TensorSpec(name: "y", type: .float32, shape: [1, 2])]
    private var fed: [Float] = []
    private var made: [Float] = []

    func bind(_ feeds: [String: Tensor]) throws {
        guard let feed = feeds["x"] else { throw BenchFailure("run_failed", "no x") }
        fed = feed.floats()
    }

    func predict() throws { made = fed.map { $0 * 2 } }
    func placement() throws -> Placement? { nil }
    func fetch() throws -> [String: Tensor] { ["y": try Tensor(made, shape: [1, 2])] }
}

private struct DoublingEngine: InferenceEngine {
    let target = "coreml"
    let runtime = "Doubling"
    let runtimeVersion = "1"
    let accelerators = ["cpu"]

    func prepare(_ model: URL) throws -> URL { model }
    func open(_ prepared: URL, accelerator: String, threads: Int) throws -> any InferenceSession { DoublingSession() }
}

private final class Lines: @unchecked Sendable {
    private let lock = NSLock()
    private var kept: [String] = []
    var all: [String] { lock.withLock { kept } }
    func add(_ line: String) { lock.withLock { kept.append(line) } }
}

@Suite struct SessionTests {
    private let home: URL
    private let lines = Lines()

    init() throws {
        home = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: home, withIntermediateDirectories: true)
        try Data("model".utf8).write(to: home.appendingPathComponent("m.bin"))
    }

    private func order(_ changes: String = "", accelerator: String = "cpu") throws -> BenchOrder {
        let sha256 = Sha256.hex("model".utf8)
        let json = """
            {"run": "00c0ffee", "target": "coreml", "model": "m.bin", "model_sha256": "\(sha256)", "new_key": 1, \(changes)
             "plan": {"warmup_min_s": 0.01, "warmup_min_runs": 10, "warmup_max_s": 0.2, "min_runs": 50, "min_seconds": 0.05,
                      "max_seconds": 1, "accelerator": "\(accelerator)"}}
            """
        let word = Frames.base64url(Data(json.utf8)).replacingOccurrences(of: "=", with: "")
        return try BenchOrder.read(["app", "--palmtop=\(word)", "-NSDoubleLocalizedStrings"], home: home)
    }

    private func run(_ order: BenchOrder, batteryPercent: Int? = nil) throws -> (isMeasured: Bool, records: [String]) {
        let lines = lines
        let session = try BenchSession(order, engines: [DoublingEngine()], home: home) { lines.add($0) }
        let isMeasured = session.run(as: BenchIdentity(app: "tests", version: "1")) { batteryPercent }
        let text = try String(contentsOf: order.resultFile(home: home), encoding: .utf8)
        return (isMeasured, text.split(separator: "\n").map(String.init))
    }

    @Test func aSessionTellsAllPhasesAndEndsVerified() throws {
        let (isMeasured, records) = try run(order())
        #expect(isMeasured)
        let phases = records.filter { $0.contains(#""edge":"begin""#) }.compactMap { $0.split(separator: "\"").dropFirst(11).first }
        #expect(phases == ["load_cold", "parity", "load_warm", "first", "warmup", "measure"])
        let before = records.dropLast().map { "\($0)\n" }.joined()
        #expect(records.last?.contains(#""exit":"ok","records":\#(records.count - 1),"sha256":"\#(Sha256.hex(before.utf8))""#) == true)
        #expect(lines.all.count == records.count)
        #expect(records.contains { $0.contains(#""code":"random_inputs""#) })
    }

    @Test func aBatteryLevelIsToldAndNeverAsEnergy() throws {
        let records = try run(order(), batteryPercent: 57).records
        #expect(records.filter { $0.contains(#""battery":{"raw":57,"unit_guess":"percent"}"#) }.count == 2)
        #expect(!records.contains { $0.contains(#""t":"power""#) || $0.contains(#""name":"idle""#) })
        #expect(records.filter { $0.contains(#""calls":"#) }.count == 1)
    }

    @Test(arguments: [
        (#""model_sha256": "00","#, "model_hash"), (#""model": "none","#, "model_missing"),
        (#""target": "tflite","#, "bad_args"), (#""golden": "none.npz","#, "check_failed"),
    ])
    func whatCannotBeDoneIsTold(changes: String, code: String) throws {
        let later = try JSONSerialization.jsonObject(with: Data("{\(changes.dropLast())}".utf8)) as? [String: String]
        let base = try order()
        let order = BenchOrder(
            run: base.run, target: later?["target"] ?? base.target, model: later?["model"] ?? base.model,
            modelSha256: later?["model_sha256"] ?? base.modelSha256, golden: later?["golden"], out: "out.jsonl", plan: base.plan)
        let (isMeasured, records) = try run(order)
        #expect(!isMeasured)
        #expect(records.dropLast().last?.contains(#""code":"\#(code)""#) == true)
        #expect(records.last?.contains(#""exit":"error""#) == true)
    }

    @Test func anUnknownAcceleratorIsRefused() throws {
        let records = try run(order(accelerator: "npu")).records
        #expect(records.contains { $0.contains(#""code":"accelerator_unavailable""#) })
    }

    @Test func aResultFileIsNeverWrittenOver() throws {
        let order = try order()
        _ = try run(order)
        #expect(throws: BenchFailure.self) { try run(order) }
    }

    @Test(arguments: [[], ["--palmtop=!"], ["--palmtop=e30"], ["--palmtop=@none.json"], ["--palmtop=e30", "--palmtop=e30"]])
    func aBadOrderIsRefused(arguments: [String]) {
        #expect(throws: BenchFailure.self) { try BenchOrder.read(arguments, home: home) }
    }

    @Test func aFolderIsHashedByPathsSizesAndBytes() throws {
        let folder = home.appendingPathComponent("m.mlpackage")
        try FileManager.default.createDirectory(at: folder.appendingPathComponent("a"), withIntermediateDirectories: true)
        for (name, text) in [("a/b", "1"), ("a.txt", "22"), ("é", "")] {
            try Data(text.utf8).write(to: folder.appendingPathComponent(name))
        }
        let parts: [[UInt8]] = [Array("a/b".utf8), [0, 1, 0, 0, 0, 0, 0, 0, 0], Array("1".utf8)]
            + [Array("a.txt".utf8), [0, 2, 0, 0, 0, 0, 0, 0, 0], Array("22".utf8), Array("é".utf8), [UInt8](repeating: 0, count: 9)]
        #expect(try Sha256.of(file: folder) == Sha256.hex(parts.joined()))
    }
}

@Suite struct StatsTests {
    @Test func percentilesAreNearestRank() {
        #expect([1, 40, 41, 100].map { BenchStats.percentile([15, 20, 35, 40, 50], $0) } == [15, 20, 35, 50])
        #expect(BenchStats.median([4, 1, 3, 2]) == 2.5)
        #expect(BenchStats.median([3, 1, 2]) == 2)
    }
}
