package androidx.test.platform.app

object InstrumentationRegistry {
    lateinit var fakeInstrumentation: android.app.Instrumentation

    fun getInstrumentation(): android.app.Instrumentation = fakeInstrumentation
}
