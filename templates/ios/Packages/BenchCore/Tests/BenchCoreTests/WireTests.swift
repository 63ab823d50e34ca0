// SPDX-License-Identifier: 0BSD

import Foundation
import Testing

@testable import BenchCore

@Suite struct WireTests {
    /// FIPS 180-4's examples and lengths around a block's end; digests by another implementation.
    @Test(arguments: [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (3, "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0"),
        (55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"),
        (56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"),
        (64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"),
        (1000, "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3"),
    ])
    func sha256(length: Int, hex: String) {
        #expect(Sha256.hex([UInt8](repeating: UInt8(ascii: "a"), count: length)) == hex)
    }

    @Test func crc32OfTheCheckString() {
        #expect(Crc32.of("123456789".utf8) == 0xCBF4_3926)
    }

    @Test func textIsAsciiJson() {
        let json = Json.object([
            "a": .text("\"\\/\n\t\u{1}\u{7F}é😀@"), "b": nil, "c": .list([.whole(-1), .truth(true)]), "d": .number(.infinity),
        ])
        #expect(
            json.asciiText
                == #"{"a":"\"\\/\n\t\u0001\u007f\u00e9\ud83d\ude00\u0040","c":[-1,true],"d":"inf"}"#)
    }

    @Test(arguments: [
        (0.0, "0.0"), (-0.0, "-0.0"), (0.1, "0.1"), (1e-4, "0.0001"), (1e-5, "1e-05"), (1.5e-7, "1.5e-07"),
        (1e15, "1000000000000000.0"), (1e16, "1e+16"), (-1.25e16, "-1.25e+16"), (18014398509481984, "1.8014398509481984e+16"),
        (1.7976931348623157e308, "1.7976931348623157e+308"), (.leastNonzeroMagnitude, "5e-324"),
    ])
    func numbersAreWrittenAsPythonWritesThem(value: Double, text: String) {
        #expect(Json.number(value).asciiText == text)
    }

    @Test func longRecordsGoInSlices() throws {
        let text = "{\"t\":\"warn\",\"msg\":\"\(String(repeating: "x", count: 900))\"}"
        let frames = try Frames.encode(run: "0a1b2c3d", seq: 7, text: text)
        #expect(frames.count == 2)
        #expect(frames.allSatisfy { $0.utf8.count <= 900 && $0.hasPrefix("@PT1 0a1b2c3d 7 ") })
        let coded = frames.map { $0.split(separator: " ")[5] }.joined()
        #expect(Frames.data(base64url: coded) == Data(text.utf8))
    }

    @Test func tooLongARecordIsRefused() {
        let text = String(repeating: "x", count: 848 * 64)
        #expect(throws: BenchFailure.self) { try Frames.encode(run: "0a1b2c3d", seq: 0, text: text) }
    }

    @Test(arguments: [("{}", nil), ("e30", "{}"), ("e30=", "{}"), ("a b", nil), ("_-8", "\u{fffd}\u{fffd}")] as [(String, String?)])
    func base64url(text: String, meaning: String?) {
        #expect(Frames.data(base64url: text).map { String(decoding: $0, as: UTF8.self) } == meaning)
    }
}

/// The corpus that every implementation of the protocol runs; `PALMTOP_WIRE_CORPUS` names its folder.
@Suite(.enabled(if: Corpus.folder != nil)) struct ConformanceTests {
    @Test func recordsBecomeTheFramesOfTheTranscript() throws {
        let records = try Corpus.lines("complete.jsonl")
        let run = try #require(Corpus.lines("complete.txt").first?.split(separator: " ")[1])
        let frames = try Corpus.lines("complete.txt")
        let made = try records.enumerated().flatMap { try Frames.encode(run: String(run), seq: $0.offset, text: $0.element) }
        #expect(made == frames)
    }

    @Test func recordsAreWrittenAgainByteForByte() throws {
        for line in try Corpus.lines("complete.jsonl") {
            var reader = OrderedJson(line)
            let again = try reader.value().asciiText
            #expect(again == line)
        }
    }

    @Test func theLastLineCarriesTheChecksumOfAllBeforeIt() throws {
        let lines = try Corpus.lines("complete.jsonl")
        let before = lines.dropLast().map { "\($0)\n" }.joined()
        let last = try #require(lines.last)
        #expect(last.contains("\"sha256\":\"\(Sha256.hex(before.utf8))\""))
    }

    @Test func latenciesHaveTheChecksumThatTheResultSays() throws {
        let lines = try Corpus.lines("complete.jsonl")
        let latencies = try lines.filter { $0.contains("\"t\":\"samples\"") }.flatMap(Corpus.latencies)
        let result = try #require(lines.first { $0.contains("\"t\":\"result\"") })
        #expect(result.contains("\"samples_sha256\":\"\(BenchStats.sha256(latencies))\""))
        let ordered = latencies.sorted()
        for percent in [50, 90, 99] {
            #expect(result.contains("\"p\(percent)\":\(BenchStats.percentile(ordered, percent)),"))
        }
    }
}

/// The small cases of `conformance.json`; its page says which are an app's duty.
@Suite(.enabled(if: Corpus.folder != nil)) struct ConformanceCaseTests {
    @Test func framesAreTheCorpus() throws {
        let cases = try Corpus.cases().frames
        #expect(!cases.isEmpty)
        for one in cases {
            #expect(try Frames.encode(run: one.run, seq: one.seq, text: one.text) == one.frames, "\(one.name)")
        }
    }

    @Test func stringsAreTheCorpus() throws {
        for one in try Corpus.cases().strings {
            var text = ""
            text.unicodeScalars.append(contentsOf: one.codePoints.compactMap(Unicode.Scalar.init))
            #expect(Json.text(text).asciiText == one.json)
        }
    }

    @Test func numbersAreTheCorpus() throws {
        for one in try Corpus.cases().numbers {
            let bits = try #require(UInt64(one.bits, radix: 16))
            let made = Json.number(Double(bitPattern: bits)).asciiText
            #expect(made == one.text, "\(one.bits)")
        }
    }

    @Test func hashesAreTheCorpus() throws {
        for one in try Corpus.cases().hashes {
            let digits = Array(one.hex)
            let bytes = stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...$0 + 1]), radix: 16) }
            #expect(Sha256.hex(bytes) == one.sha256)
            #expect(String(format: "%08x", Crc32.of(bytes)) == one.crc32)
        }
    }

    @Test func ordersAreTheCorpus() throws {
        for one in try Corpus.cases().orders {
            let read = try? BenchOrder.read(["--palmtop=\(one.word)"], home: URL(fileURLWithPath: "/nowhere"))
            #expect(read?.run == one.order?.run, "\(one.name)")
            #expect(read?.target == one.order?.target)
            #expect(read?.model == one.order?.model)
            #expect(read?.modelSha256 == one.order?.modelSha256)
            #expect(read?.golden == one.order?.golden)
            #expect(read?.out == one.order?.out)
            #expect(read?.plan.minRuns == one.order?.plan.minRuns)
            #expect(read?.plan.maxSeconds == one.order?.plan.maxSeconds)
            #expect(read?.plan.threads == one.order?.plan.threads)
            #expect(read?.plan.accelerator == one.order?.plan.accelerator)
            #expect(read?.plan.seed == one.order?.plan.seed)
        }
    }

    @Test func seriesAreTheCorpus() throws {
        for one in try Corpus.cases().series {
            let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).jsonl")
            let channel = try BenchChannel(run: "00c0ffee", file: file) { _ in }
            let series = BenchSeries(channel)
            for latency in one.latenciesNs where series.keep(latency) { series.flush() }
            series.flush()
            channel.close(ok: true)
            let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").dropLast().map(String.init)
            let samples = try lines.map { try JSONDecoder().decode(Corpus.Samples.self, from: Data($0.utf8)) }
            #expect(samples.map(\.first_index) == one.samples.map(\.firstIndex), "\(one.name)")
            #expect(samples.map(\.dns) == one.samples.map(\.dns))
            let ordered = series.kept.sorted()
            #expect(ordered.count == one.result.n)
            #expect([50, 90, 99].map { BenchStats.percentile(ordered, $0) } == [one.result.p50, one.result.p90, one.result.p99])
            #expect(BenchStats.sha256(series.kept) == one.result.samplesSha256)
        }
    }
}

enum Corpus {
    struct Cases: Decodable {
        struct FrameCase: Decodable { let name: String, run: String, seq: Int, text: String, frames: [String] }
        struct StringCase: Decodable { let codePoints: [UInt32], json: String }
        struct NumberCase: Decodable { let bits: String, text: String }
        struct HashCase: Decodable { let hex: String, sha256: String, crc32: String }
        struct OrderCase: Decodable { let name: String, word: String, order: BenchOrder? }
        struct SampleCase: Decodable { let firstIndex: Int, dns: [Int64] }
        struct ResultCase: Decodable { let n: Int, p50: Int64, p90: Int64, p99: Int64, samplesSha256: String }
        struct SeriesCase: Decodable { let name: String, latenciesNs: [Int64], samples: [SampleCase], result: ResultCase }

        let frames: [FrameCase], strings: [StringCase], numbers: [NumberCase], hashes: [HashCase]
        let orders: [OrderCase], series: [SeriesCase]
    }

    struct Samples: Decodable { let first_index: Int, dns: [Int64] }

    static func cases() throws -> Cases {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Cases.self, from: Data(contentsOf: #require(folder).appendingPathComponent("conformance.json")))
    }

    static let folder = ProcessInfo.processInfo.environment["PALMTOP_WIRE_CORPUS"].map(URL.init(fileURLWithPath:))

    static func lines(_ name: String) throws -> [String] {
        let place = try #require(folder).appendingPathComponent(name)
        return try String(contentsOf: place, encoding: .utf8).split(separator: "\n").map(String.init)
    }

    static func latencies(_ line: String) throws -> [Int64] {
        struct Samples: Decodable { let dns: [Int64] }
        var total: Int64 = 0
        return try JSONDecoder().decode(Samples.self, from: Data(line.utf8)).dns.map { step in
            total += step
            return total
        }
    }
}

/// Reads the JSON of a record with its order of keys, which Foundation's reader loses.
struct OrderedJson {
    private var rest: Substring

    init(_ text: String) { rest = Substring(text) }

    mutating func value() throws -> Json {
        switch rest.first {
        case "{": return try table()
        case "[": return try list()
        case "\"": return .text(try text())
        default: return try scalar()
        }
    }

    private mutating func table() throws -> Json {
        rest.removeFirst()
        var fields: [Json.Field] = []
        while rest.first != "}" {
            if rest.first == "," { rest.removeFirst() }
            let key = try text()
            rest.removeFirst()
            fields.append(Json.Field(key: key, value: try value()))
        }
        rest.removeFirst()
        return .table(fields)
    }

    private mutating func list() throws -> Json {
        rest.removeFirst()
        var values: [Json] = []
        while rest.first != "]" {
            if rest.first == "," { rest.removeFirst() }
            values.append(try value())
        }
        rest.removeFirst()
        return .list(values)
    }

    private mutating func text() throws -> String {
        var end = rest.index(after: rest.startIndex)
        while rest[end] != "\"" { end = rest.index(end, offsetBy: rest[end] == "\\" ? 2 : 1) }
        let literal = String(rest[...end])
        rest = rest[rest.index(after: end)...]
        return try JSONDecoder().decode(String.self, from: Data(literal.utf8))
    }

    private mutating func scalar() throws -> Json {
        let word = String(rest.prefix { !",]}".contains($0) })
        rest = rest.dropFirst(word.count)
        if let whole = Int64(word) { return .whole(whole) }
        return try word == "true" || word == "false" ? .truth(word == "true") : .number(#require(Double(word)))
    }
}
