// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class PreprocessTest {
    private val plain = PreprocessSpec(null, null, Colour.RGB, 1f, emptyList(), emptyList(), Layout.NHWC)

    private fun port(vararg shape: Int, layout: Layout = Layout.NHWC, dtype: DType = DType.FLOAT32, quantization: Quantization? = null) =
        Port(TensorSpec("image", dtype, shape.asList(), quantization), "image", layout)

    private fun picture(height: Int, width: Int, colour: (Int) -> Int) =
        Pixels(height, width, 3, ByteArray(height * width * 3) { colour(it).toByte() })

    @Test
    fun aFlatPictureStaysFlatWhateverTheSize() {
        val made = Preprocess(plain.copy(resize = Size(5, 3)), port(1, 5, 3, 3)).apply(picture(17, 11) { 200 })
        assertEquals(List(45) { 200f }, made.toFloatArray().toList())
    }

    @Test
    fun reducingAveragesInsteadOfPicking() {
        val made = Preprocess(plain.copy(resize = Size(1, 1)), port(1, 1, 1, 3)).apply(picture(1, 4) { if (it / 3 % 2 == 0) 0 else 200 })
        assertEquals(100.0, made[0], 1.0)
    }

    @Test
    fun theCropIsCentral() {
        val made = Preprocess(plain.copy(crop = Size(1, 1)), port(1, 1, 1, 3)).apply(picture(3, 3) { it / 3 })
        assertEquals(4.0, made[0], 0.0)
    }

    @Test
    fun aPictureSmallerThanTheCropIsEnlargedToCoverIt() {
        val made = Preprocess(plain.copy(crop = Size(8, 8)), port(1, 8, 8, 3)).apply(picture(2, 4) { 7 })
        assertEquals(listOf(1, 8, 8, 3), made.shape)
    }

    @Test
    fun valuesAreScaledAndNormalisedByChannel() {
        val spec = plain.copy(scale = 1 / 255f, mean = listOf(0.5f, 0f, 1f), std = listOf(0.5f, 1f, 2f))
        val made = Preprocess(spec, port(1, 1, 1, 3)).apply(picture(1, 1) { 255 })
        assertEquals(listOf(1f, 1f, 0f), made.toFloatArray().toList())
    }

    @Test
    fun channelsGoWhereTheModelWantsThem() {
        val two = picture(1, 2) { it }
        fun made(spec: PreprocessSpec, port: Port) = Preprocess(spec, port).apply(two).toFloatArray().toList()
        assertEquals(listOf(0f, 3f, 1f, 4f, 2f, 5f), made(plain, port(1, 3, 1, 2, layout = Layout.NCHW)))
        assertEquals(listOf(2f, 1f, 0f, 5f, 4f, 3f), made(plain.copy(colour = Colour.BGR), port(1, 1, 2, 3)))
        assertEquals(listOf(1f, 4f), made(plain.copy(colour = Colour.GRAY), port(1, 1, 2, 1)))
    }

    @Test
    fun integerInputsTakeBytesOrQuantizedValues() {
        val raw = Preprocess(plain.copy(scale = 1 / 255f), port(1, 1, 1, 3, dtype = DType.UINT8)).apply(picture(1, 1) { 128 })
        assertEquals(128.0, raw[0], 0.0)
        val quantized = port(1, 1, 1, 3, dtype = DType.INT8, quantization = Quantization(1 / 255f, -128))
        assertEquals(0.0, Preprocess(plain.copy(scale = 1 / 255f), quantized).apply(picture(1, 1) { 128 })[0], 0.0)
    }

    @Test
    fun aPictureThatDoesNotFitTheModelIsAnError() {
        assertThrows(IllegalArgumentException::class.java) { Preprocess(plain, port(1, 9, 9, 3)).apply(picture(3, 3) { 0 }) }
    }
}
