// SPDX-License-Identifier: 0BSD
//
// bench-command --palmtop=<order>: one session of palmtop-bench/1 without a phone, on the reference engine, so that a
// machine without Xcode can show that this package measures and tells what a host expects.

import BenchCore
import Foundation

let home = URL(fileURLWithPath: FileManager.default.currentDirectoryPath)
do {
    let order = try BenchOrder.read(CommandLine.arguments, home: home)
    let session = try BenchSession(order, engines: [ReferenceEngine()], home: home) { frame in
        FileHandle.standardOutput.write(Data("\(frame)\n".utf8))
    }
    exit(session.run(as: BenchIdentity(app: "bench-command", version: "1.0")) ? 0 : 1)
} catch {
    FileHandle.standardError.write(Data("bench-command: \(error)\n".utf8))
    exit(2)
}
