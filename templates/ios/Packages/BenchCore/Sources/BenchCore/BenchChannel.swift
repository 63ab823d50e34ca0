// SPDX-License-Identifier: 0BSD

import Foundation

/// The two ways out: framed lines while a session lasts, and the result file, which is the truth.
///
/// Records may be said from any thread; a lock numbers them. Samples and beats are not forced to the disk one by one,
/// because they come while the model is being timed.
public final class BenchChannel: @unchecked Sendable {
    static let beatNs: Int64 = 2_000_000_000
    static let watchNs: Int64 = 1_000_000_000
    private static let quiet: Set<String> = ["samples", "beat"]

    private let run: String
    private let live: @Sendable (String) -> Void
    private let file: FileHandle
    private let started = BenchClock.now()
    private let lock = NSLock()
    private let ended = DispatchSemaphore(value: 0)
    private var digest = Sha256()
    private var seq = 0
    private var lastBeat: Int64
    private var progress = (phase: "start", done: 0, total: 0)
    private var broken: (any Error)?

    /// Makes the result file, which must not exist; `live` gets frames without their line end.
    public init(run: String, file url: URL, live: @escaping @Sendable (String) -> Void) throws {
        let folder = url.deletingLastPathComponent()
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let descriptor = open(url.path, O_WRONLY | O_CREAT | O_EXCL, 0o644)
        guard descriptor >= 0 else {
            throw BenchFailure("bad_args", "the result file \(url.lastPathComponent) cannot be made")
        }
        file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        self.run = run
        self.live = live
        lastBeat = started
    }

    /// Writes a record to the file, then sends it live. A field without a value is left out.
    public func say(_ kind: String, _ fields: KeyValuePairs<String, Json?>) {
        lock.withLock { write(kind, fields) }
    }

    private func write(_ kind: String, _ fields: KeyValuePairs<String, Json?>) {
        let head: KeyValuePairs<String, Json?> = [
            "t": .text(kind), "s": .whole(Int64(seq)), "ns": .whole(BenchClock.now() - started),
        ]
        guard case .table(let first) = Json.object(head), case .table(let rest) = Json.object(fields) else { return }
        let text = Json.table(first + rest).asciiText
        let line = Array(text.utf8) + [0x0A]
        do {
            try file.write(contentsOf: line)
            if !BenchChannel.quiet.contains(kind) { try file.synchronize() }
            for frame in try Frames.encode(run: run, seq: seq, text: text) { live(frame) }
        } catch {
            broken = broken ?? error
        }
        digest.update(line)
        seq += 1
    }

    /// Throws what kept a record from being written, so that a full disk ends a session instead of its file alone.
    public func check() throws {
        if let broken = lock.withLock({ broken }) {
            throw BenchFailure("run_failed", "the result file cannot be written: \(broken)")
        }
    }

    /// Remembers how far the work is; says a beat when one is due.
    public func progressed(_ phase: String, _ done: Int, _ total: Int = 0) {
        lock.withLock {
            progress = (phase, done, total)
            if BenchClock.now() - lastBeat >= BenchChannel.beatNs { beat() }
        }
    }

    /// Gives signs of life from now on, also while a long native call does not return.
    public func startBeating() {
        Thread.detachNewThread { [self] in
            while ended.wait(timeout: .now() + .nanoseconds(Int(BenchChannel.watchNs))) == .timedOut {
                lock.withLock {
                    if BenchClock.now() - lastBeat >= BenchChannel.beatNs + BenchChannel.watchNs { beat() }
                }
            }
        }
    }

    private func beat() {
        lastBeat = BenchClock.now()
        let (phase, done, total) = progress
        write("beat", ["phase": .text(phase), "done": .whole(Int64(done)), "total": .whole(Int64(total))])
    }

    /// Says `bye`; nothing is said after it.
    public func close(ok: Bool) {
        ended.signal()
        lock.withLock {
            let sha256 = digest.hex()
            write("bye", ["exit": .text(ok ? "ok" : "error"), "records": .whole(Int64(seq)), "sha256": .text(sha256)])
            try? file.close()
        }
    }
}
