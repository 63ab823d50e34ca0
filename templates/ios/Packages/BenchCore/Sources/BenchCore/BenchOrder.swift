// SPDX-License-Identifier: 0BSD

import Foundation

/// How long to measure, and on what.
public struct BenchPlan: Decodable, Sendable {
    public let warmupMinS: Double
    public let warmupMinRuns: Int
    public let warmupMaxS: Double
    public let minRuns: Int
    public let minSeconds: Double
    public let maxSeconds: Double
    public let threads: Int
    public let accelerator: String
    public let seed: UInt64

    private enum CodingKeys: String, CodingKey {
        case warmupMinS, warmupMinRuns, warmupMaxS, minRuns, minSeconds, maxSeconds, threads, accelerator, seed
    }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        warmupMinS = try fields.decode(Double.self, forKey: .warmupMinS)
        warmupMinRuns = try fields.decode(Int.self, forKey: .warmupMinRuns)
        warmupMaxS = try fields.decode(Double.self, forKey: .warmupMaxS)
        minRuns = try fields.decode(Int.self, forKey: .minRuns)
        minSeconds = try fields.decode(Double.self, forKey: .minSeconds)
        maxSeconds = try fields.decode(Double.self, forKey: .maxSeconds)
        threads = try fields.decodeIfPresent(Int.self, forKey: .threads) ?? 1
        accelerator = try fields.decodeIfPresent(String.self, forKey: .accelerator) ?? "cpu"
        seed = try fields.decodeIfPresent(UInt64.self, forKey: .seed) ?? 0
        let seconds = [warmupMinS, warmupMaxS, minSeconds, maxSeconds]
        guard seconds.allSatisfy({ (0...86_400).contains($0) }), warmupMinRuns >= 0, minRuns >= 0, threads >= 0 else {
            throw BenchFailure("bad_args", "the plan has a number that no measurement can follow")
        }
    }
}

/// One session as the host asks for it: the one launch argument `--palmtop=<base64url of JSON>`.
///
/// A longer order comes as `@` and the path of a file of JSON. Relative paths count from the app's own folder
/// (`NSHomeDirectory()`), because a host cannot know where on a phone that lies.
public struct BenchOrder: Decodable, Sendable {
    static let key = "--palmtop="
    static let bytesMax = 1 << 20

    public let run: String
    public let target: String
    public let model: String
    public let modelSha256: String
    public let golden: String?
    public let out: String?
    public let plan: BenchPlan

    init(
        run: String, target: String, model: String, modelSha256: String, golden: String?, out: String?, plan: BenchPlan
    ) {
        self.run = run
        self.target = target
        self.model = model
        self.modelSha256 = modelSha256
        self.golden = golden
        self.out = out
        self.plan = plan
    }

    /// Whether a launch was meant for the bench at all.
    public static func isAsked(_ arguments: [String]) -> Bool {
        arguments.contains { $0.hasPrefix(key) }
    }

    public static func read(_ arguments: [String], home: URL) throws -> BenchOrder {
        let words = arguments.filter { $0.hasPrefix(key) }.map { String($0.dropFirst(key.count)) }
        guard words.count == 1 else {
            throw BenchFailure("bad_args", "give the order once, as --palmtop=<base64url of JSON>")
        }
        guard let data = words[0].hasPrefix("@") ? file(words[0], home) : Frames.data(base64url: words[0]) else {
            throw BenchFailure("bad_args", "the order is no base64url of JSON, and no file of it")
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let order: BenchOrder
        do {
            order = try decoder.decode(BenchOrder.self, from: data)
        } catch let error as DecodingError {
            throw BenchFailure("bad_args", "the order cannot be read: \(error)")
        }
        guard order.run.utf8.count == 8, order.run.utf8.allSatisfy({ Array("0123456789abcdef".utf8).contains($0) }) else {
            throw BenchFailure("bad_args", "the run is not eight hex digits")
        }
        return order
    }

    private static func file(_ word: String, _ home: URL) -> Data? {
        let url = place(String(word.dropFirst()), home)
        guard let handle = try? FileHandle(forReadingFrom: url) else { return nil }
        defer { try? handle.close() }
        return try? handle.read(upToCount: bytesMax)
    }

    /// Where a path of the order lies on this device.
    public static func place(_ path: String, _ home: URL) -> URL {
        path.hasPrefix("/") ? URL(fileURLWithPath: path) : home.appendingPathComponent(path)
    }

    /// Where the result file goes: as ordered, else `Documents/palmtop/<run>.jsonl`.
    public func resultFile(home: URL) -> URL {
        BenchOrder.place(out ?? "Documents/palmtop/\(run).jsonl", home)
    }
}
