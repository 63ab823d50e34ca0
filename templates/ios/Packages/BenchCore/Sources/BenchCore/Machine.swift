// SPDX-License-Identifier: 0BSD

import Foundation

/// What the system says of this process and this device.
enum Machine {
    /// Kilobytes (1024 bytes).
    struct Memory {
        let rssKb: Int
        let peakKb: Int?
        let footprintKb: Int?
    }

    static var pageSize: Int { Int(sysconf(Int32(_SC_PAGESIZE))) }

    #if canImport(Darwin)
        static func memory() -> Memory {
            var info = task_vm_info_data_t()
            var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size)
            let answer = withUnsafeMutablePointer(to: &info) { pointer in
                pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
                    task_info(task_self_trap(), task_flavor_t(TASK_VM_INFO), $0, &count)
                }
            }
            guard answer == KERN_SUCCESS else { return Memory(rssKb: 0, peakKb: nil, footprintKb: nil) }
            return Memory(
                rssKb: Int(info.resident_size / 1024), peakKb: Int(info.resident_size_peak / 1024),
                footprintKb: Int(info.phys_footprint / 1024))
        }

        /// The system keeps one peak for the life of a process.
        static func resetPeak() -> Bool { false }

        static var hardware: String {
            if let simulated = ProcessInfo.processInfo.environment["SIMULATOR_MODEL_IDENTIFIER"] {
                return "\(simulated) (simulator)"
            }
            var name = utsname()
            uname(&name)
            return withUnsafeBytes(of: &name.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        }

        static var thermal: String? {
            switch ProcessInfo.processInfo.thermalState {
            case .nominal: "nominal"
            case .fair: "fair"
            case .serious: "serious"
            case .critical: "critical"
            @unknown default: nil
            }
        }

        static var isLowPower: Bool? { ProcessInfo.processInfo.isLowPowerModeEnabled }
    #else
        static func memory() -> Memory {
            let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
            let fields = status.split(separator: "\n").map { $0.split(whereSeparator: \.isWhitespace) }
            let kilobytes = { (name: String) in fields.first { $0.first == "\(name):" }.flatMap { Int($0[1]) } }
            return Memory(rssKb: kilobytes("VmRSS") ?? 0, peakKb: kilobytes("VmHWM"), footprintKb: nil)
        }

        /// See proc(5): 5 to `clear_refs` lets the peak count from now.
        static func resetPeak() -> Bool {
            let file = open("/proc/self/clear_refs", O_WRONLY)
            guard file >= 0 else { return false }
            defer { close(file) }
            return write(file, "5", 1) == 1
        }

        static var hardware: String {
            var name = utsname()
            uname(&name)
            return withUnsafeBytes(of: &name.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        }

        static var thermal: String? { nil }
        static var isLowPower: Bool? { nil }
    #endif
}
