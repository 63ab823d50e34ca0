// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class FramesTest {
    @Test
    fun aShortRecordIsOneFrame() {
        val frame = Frames.encode("5eed0001", 3, """{"t":"beat","s":3}""").single()
        assertEquals("""@PT1 5eed0001 3 1/1 ${frame.substring(20, 28)} {"t":"beat","s":3}""", frame)
        assertEquals(listOf(Frames.Chunk("5eed0001", 3, 0, 1, """{"t":"beat","s":3}""")), Frames.scan("I palmtop : $frame other {text}"))
    }

    @Test
    fun aLongRecordGoesInSlices() {
        val text = """{"t":"warn","msg":"${"x".repeat(2000)}"}"""
        val frames = Frames.encode("5eed0001", 9, text)
        assertTrue(frames.size > 1 && frames.all { it.length <= Frames.FRAME_MAX })
        assertEquals(text, Frames.join(frames.flatMap(Frames::scan).map { it.payload }))
    }

    @Test
    fun aDamagedFrameIsNone() {
        val frame = Frames.encode("5eed0001", 3, """{"t":"beat","s":3}""").single()
        assertEquals(emptyList<Frames.Chunk>(), Frames.scan(frame.replace("beat", "bear")))
        assertEquals(emptyList<Frames.Chunk>(), Frames.scan(frame.dropLast(1)))
    }
}
