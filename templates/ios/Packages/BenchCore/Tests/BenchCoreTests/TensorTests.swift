// SPDX-License-Identifier: 0BSD

import Testing

@testable import BenchCore

@Suite struct TensorTests {
    @Test(arguments: ElementType.allCases)
    func wholeNumbersComeBack(type: ElementType) throws {
        let tensor = try Tensor([Int64](arrayLiteral: 0, 1, 1, 0), type: type, shape: [2, 2])
        #expect(tensor.doubles() == [0, 1, 1, 0])
        #expect(tensor.bytes.count == 4 * type.byteCount)
    }

    @Test func integersSaturateAndRoundHalfToEven() throws {
        let values: [Float] = [-1000, -0.5, 0.5, 1.5, 2.5, 1000, .nan]
        #expect(try Tensor(values, type: .int8, shape: [7]).doubles() == [-128, 0, 0, 2, 2, 127, 0])
    }

    @Test func halfFloatsRoundAsIeee754Asks() throws {
        let tie: Float = 1 + 0x1p-11
        let upperTie: Float = 1 + 0x1.8p-10
        let values: [Float] = [0, -1, 65504, 65520, 0x1p-24, 0x1p-26, tie, upperTie, 0x1.ffep-15]
        let rounded: [Float] = [0, -1, 65504, .infinity, 0x1p-24, 0, 1, 1 + 0x1p-9, 0x1p-14]
        #expect(try Tensor(values, type: .float16, shape: [9]).floats() == rounded)
        #expect(try Tensor([Float.nan], type: .float16, shape: [1]).floats()[0].isNaN)
    }

    @Test func everyHalfSurvivesTheWayToFloatAndBack() {
        for bits in UInt16.min...UInt16.max where !Half.float(bits).isNaN {
            #expect(Half.bits(Half.float(bits)) == bits)
        }
    }

    @Test(arguments: [[-1], [2, 3], [1 << 40, 1 << 40]])
    func bytesMustFitTheShape(shape: [Int]) {
        #expect(throws: BenchFailure.self) { try Tensor(type: .uint8, shape: shape, bytes: [1, 2, 3]) }
    }
}
