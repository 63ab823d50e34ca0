// swift-tools-version: 6.0
// SPDX-License-Identifier: 0BSD

import PackageDescription

let package = Package(
    name: "BenchCore",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "BenchCore", targets: ["BenchCore"]),
        .executable(name: "bench-command", targets: ["BenchCommand"]),
    ],
    targets: [
        .target(name: "BenchCore"),
        .executableTarget(name: "BenchCommand", dependencies: ["BenchCore"]),
        .testTarget(name: "BenchCoreTests", dependencies: ["BenchCore"]),
    ],
    swiftLanguageModes: [.v6]
)
